"""Whose turn it is to write a table of embeddings, where several machines have indexers."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path

from gallery.generations.files import make_folder, read_whole, write_whole
from gallery.store.embedding_tables import EmbeddingTables, RegisteredTable

# A writer that has not told for so long that it lives has ended, or stands still; then it finds out before it changes anything.
LEASE_S = 12.0
_FOLDER = "table"
_HOLDER = "holder"


class Lease:
    """Looks at one table again and again, and takes it as soon as it may. The caller holds the lock of the index folder.

    Args:
        folder: on this machine (`lease_folder`): who held the table with this folder has ended.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        tables: EmbeddingTables,
        folder: Path,
        topic: str,
        fingerprint: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tables, self._clock = tables, clock
        self._topic, self._fingerprint = topic, fingerprint
        self._holder = _holder_of(folder)
        self._seen: tuple[int, int] | None = None
        self._seen_s = clock()

    def try_take(self) -> RegisteredTable | None:
        """The table's row, which is ours from now on; None while another indexer writes.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        found = self._tables.find(self._topic, self._fingerprint)
        if found is not None and found.holder not in ("", self._holder):
            seen = found.epoch, found.beat
            if seen != self._seen:
                self._seen, self._seen_s = seen, self._clock()
            if self._clock() - self._seen_s < LEASE_S:
                return None
        return self._tables.take(self._topic, self._fingerprint, self._holder, found)


def lease_folder(encoder_index_dir: Path) -> Path:
    """The folder whose lock the writer of a table holds, beside that of the index which may be there too."""
    return encoder_index_dir / _FOLDER


def _holder_of(folder: Path) -> str:
    path = folder / _HOLDER
    try:
        return read_whole(path).decode("ascii")
    except (OSError, ValueError):
        made = uuid.uuid4().hex
        make_folder(folder)
        write_whole(path, made.encode())
        return made
