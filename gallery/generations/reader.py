"""Reads the index folder: maps the newest generation and swaps when a newer one is published."""

import hashlib
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import structlog

from contract.errors import IndexDamagedError
from gallery.generations.base import Base, empty_base, load_base
from gallery.generations.files import open_file
from gallery.generations.manifest import CURRENT, Manifest, TailFile, current_name, read_manifest
from gallery.generations.selection import Selections
from gallery.generations.snapshot import Snapshot
from gallery.generations.tail import Tail, read_entries
from runtime.failpoints import failpoint

# Of a tail file, so that reading a large one takes little memory.
_PIECE_BYTES, _ENTRIES_AT_ONCE = 256 * 1024, 512

logger = structlog.get_logger()


@dataclass
class _OpenTail:
    """A tail file as far as it was read, with the running hash of that much."""

    name: str
    tail: Tail
    selections: Selections
    size_bytes: int
    sha256: "hashlib._Hash"


class Reader:
    """The newest good generation of an index folder. Not thread-safe: one caller at a time.

    Args:
        fingerprint: of the encoder, that a generation must carry to be served; None takes any.
    """

    def __init__(self, index_dir: Path, fingerprint: str | None) -> None:
        self._index_dir = index_dir
        self._fingerprint = fingerprint
        self._seen: tuple[int, int] | None = None
        self._open: _OpenTail | None = None
        self._snapshot: Snapshot | None = None
        self.refused = ""

    def current(self) -> Snapshot | None:
        """The newest generation, or the last good one while the newest is refused; None before the first.

        Costs one stat while nothing changed, and reads only what is new. `refused` says why the newest is not served.
        """
        try:
            status = os.stat(self._index_dir / CURRENT)
        except FileNotFoundError:
            return self._snapshot
        except OSError as error:
            self.refused = f"{self._index_dir / CURRENT} cannot be read: {error}."
            return self._snapshot
        seen = (status.st_ino, status.st_mtime_ns)
        if seen == self._seen:
            return self._snapshot
        try:
            name = current_name(self._index_dir)
            if name is not None:
                manifest = read_manifest(self._index_dir, name)
                failpoint("reader-after-manifest")
                self._swap(manifest)
            self.refused = ""
        except IndexDamagedError as error:
            # The folder may have moved on while it was read: then CURRENT is another one and the next call tries it.
            if self.refused != str(error):
                logger.error("generation refused", detail=str(error), serving=self._generation())
            self.refused = str(error)
        self._seen = seen
        return self._snapshot

    def load(self, manifest: Manifest, *, like: Snapshot | None = None) -> Snapshot:
        """The generation that `manifest` describes, reading only files that are not open yet.

        Args:
            like: another generation of the folder, whose base is taken where it is the same.

        Raises:
            IndexDamagedError: its files are not what it says, or another encoder made it.
        """
        if self._fingerprint is not None and manifest.encoder != self._fingerprint:
            raise IndexDamagedError(
                f"Generation {manifest.generation} holds embeddings of encoder {manifest.encoder}, this process uses "
                f"{self._fingerprint}. Start an indexer with the same LOOKALIKE_ENCODER."
            )
        opened = self._open
        if opened is None or opened.name != manifest.tail.name or opened.size_bytes > manifest.tail.size_bytes:
            known = like or self._snapshot
            base = known.base if known is not None and known.manifest.base == manifest.base else None
            tail = Tail(base or self._load_base(manifest))
            opened = _OpenTail(manifest.tail.name, tail, Selections(tail), 0, hashlib.sha256())
        try:
            _read_on(self._index_dir / "tails" / manifest.tail.name, manifest.tail, opened)
        except IndexDamagedError:
            self._open = None
            raise
        self._open = opened
        if opened.tail.count_of_entries != manifest.tail.entries or opened.tail.count != manifest.count:
            self._open = None
            raise IndexDamagedError(f"Generation {manifest.generation} does not hold {manifest.count} images.")
        return Snapshot(manifest, opened.tail, opened.selections)

    def tail(self) -> Tail:
        """The tail of the generation that was loaded last, for the writer to go on with."""
        assert self._open is not None
        return self._open.tail

    def _swap(self, manifest: Manifest) -> None:
        serving = self._snapshot.manifest if self._snapshot else None
        if serving and manifest.index_id != serving.index_id:
            # An index that is being rebuilt from the feed: the old one answers until the new one covers as much.
            same_logs = {c.log for c in serving.logs} <= {c.log for c in manifest.logs}
            if same_logs and manifest.encoder == serving.encoder and not manifest.covers(serving):
                return
        self._snapshot = self.load(manifest)

    def _load_base(self, manifest: Manifest) -> Base:
        files, dimensions = manifest.base, manifest.dimensions
        if not files.name:
            return empty_base(dimensions)
        return load_base(self._index_dir / "bases" / files.name, files.files, dimensions)

    def _generation(self) -> int | None:
        return self._snapshot.manifest.generation if self._snapshot else None


def _read_on(path: Path, wanted: TailFile, opened: _OpenTail) -> None:
    """Append what `wanted` has beyond what was read.

    Raises:
        IndexDamagedError: the file is too short or its hash differs.
    """
    found_bytes, new = opened.size_bytes, opened.sha256.copy()
    try:
        with open_file(path) as file:
            file.seek(opened.size_bytes)
            while piece := file.read(min(_PIECE_BYTES, wanted.size_bytes - found_bytes)):
                new.update(piece)
                found_bytes += len(piece)
            if new.hexdigest() != wanted.sha256 or found_bytes != wanted.size_bytes:
                raise IndexDamagedError(
                    f"{path} has SHA-256 {new.hexdigest()} over {found_bytes} bytes, its manifest says {wanted.sha256} over "
                    f"{wanted.size_bytes}."
                )
            # Read once more, a few at a time: a new tail may have 20 MB, which as objects would take several times as much.
            file.seek(opened.size_bytes)
            entries = read_entries(file, wanted.size_bytes - opened.size_bytes, opened.tail.dimensions)
            while some := list(islice(entries, _ENTRIES_AT_ONCE)):
                opened.tail.append(some)
    except OSError as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}.") from error
    opened.sha256, opened.size_bytes = new, wanted.size_bytes
