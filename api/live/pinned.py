"""`generation`: generations that were answered from a moment ago, for those who turn to the next page."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from api.answers.problems import ProblemError
from contract.errors import IndexDamagedError
from gallery.generations.manifest import read_manifest
from gallery.generations.reader import Reader
from gallery.generations.retention import GENERATIONS_KEPT_S
from gallery.generations.snapshot import Snapshot
from gallery.table.snapshot import AnySnapshot

# A snapshot holds some bytes for each image. Older ones are opened again from the folder, which costs what their tails do.
SNAPSHOTS_KEPT_MAX = 16


class PinnedGenerations:
    """Snapshots by generation, of the index that answers. Used on the event loop only.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[int, tuple[Snapshot, float]] = OrderedDict()
        self._opening = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, snapshot: AnySnapshot) -> None:
        """Note that this one is answered from now; a table holds nothing but what is now."""
        if not isinstance(snapshot, Snapshot):
            return
        now_s = self._clock()
        self._kept[snapshot.manifest.generation] = (snapshot, now_s)
        self._kept.move_to_end(snapshot.manifest.generation)
        while len(self._kept) > SNAPSHOTS_KEPT_MAX:
            self._kept.popitem(last=False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GENERATIONS_KEPT_S, self._drop_old)

    async def find(self, generation: int, index_id: str | None, served: AnySnapshot, index_dir: Path) -> AnySnapshot:
        """The generation of this number.

        Args:
            index_id: that it is of; None where only this machine answers.
            served: answers otherwise; another encoder's generations are gone once it changed.
            index_dir: of the encoder that answers.

        Raises:
            ProblemError: 410 ``generation-gone``.
        """
        encoder = served.manifest.encoder
        if generation == served.manifest.generation and index_id in (None, served.manifest.index_id):
            return served
        if not isinstance(served, Snapshot):
            raise ProblemError(
                410,
                "generation-gone",
                f"The engine cassandra keeps no earlier generations, answers come from {served.manifest.generation} now. Ask without "
                "generation: then an image that comes or goes meanwhile may be on two pages or on none.",
            )
        async with self._opening:
            found, _ = self._kept.get(generation, (None, 0.0))
            if found is None:
                found = await asyncio.to_thread(_opened, generation, served, index_dir)
        if found is None or found.manifest.encoder != encoder or index_id not in (None, found.manifest.index_id):
            raise ProblemError(
                410,
                "generation-gone",
                f"Generation {generation} is not kept here any more, answers come from {served.manifest.generation} now. Ask for the "
                "first page again, without generation.",
            )
        return found

    def _drop_old(self) -> None:
        """So that nothing is kept for long where nobody asks any more."""
        self._timer, now_s = None, self._clock()
        while self._kept:
            number, (_, noted_s) = next(iter(self._kept.items()))
            if now_s - noted_s < GENERATIONS_KEPT_S:
                self._timer = asyncio.get_running_loop().call_later(GENERATIONS_KEPT_S, self._drop_old)
                return
            del self._kept[number]


def _opened(generation: int, served: Snapshot, index_dir: Path) -> Snapshot | None:
    """The generation from its folder, None when it is not there or cannot be read."""
    try:
        names = sorted(path.name for path in (index_dir / "generations").glob(f"{generation:08d}-*.json"))
        reader = Reader(index_dir, served.manifest.encoder)
        return reader.load(read_manifest(index_dir, names[-1]), like=served) if names else None
    except (IndexDamagedError, OSError):
        return None
