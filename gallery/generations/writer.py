"""Writes the index folder: one process at a time, each generation whole, by atomic rename."""

import fcntl
import hashlib
import os
import re
import time
import uuid
from collections import Counter, deque
from operator import itemgetter
from pathlib import Path

import structlog

from contract.errors import IndexDamagedError
from gallery.generations.base import Base, base_files, empty_base, load_base
from gallery.generations.files import discard, make_folder, read_whole, write_whole
from gallery.generations.fold import Entry, Fold, PartitionProgress, Position
from gallery.generations.manifest import (
    CURRENT,
    FORMAT,
    BaseFiles,
    LogCoverage,
    Manifest,
    NotShown,
    PartitionCoverage,
    TailFile,
    current_name,
    digest_of,
    read_manifest,
    write_manifest,
)
from gallery.generations.reader import Reader
from gallery.generations.tail import Tail, encode_entries
from gallery.generations.unusable_rows import UnusableRows
from runtime.failpoints import failpoint

GENERATIONS_KEPT = 8
GENERATIONS_KEPT_S = 60.0

logger = structlog.get_logger()


def lock_index(index_dir: Path) -> int | None:
    """Take the writer's lock, held until the returned descriptor is closed; None when another process holds it."""
    make_folder(index_dir)
    if (index_dir / "lock").is_dir():
        discard(index_dir / "lock")
    descriptor = os.open(index_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


class Writer:
    """The next generation. The caller holds the lock.

    Goes on from the current generation, or starts a new index (a new `index_id`) when there is none, it is damaged, or
    it belongs to another encoder.

    Args:
        encoder: fingerprint of the encoder.
        dimensions: of its embeddings.

    Attributes:
        fold: what was folded so far; the caller adds rows to it and publishes what comes out.
        manifest: of the generation that was published last.
    """

    def __init__(self, index_dir: Path, encoder: str, dimensions: int = 128, *, rebuild: bool = False) -> None:
        self._index_dir = index_dir
        self._encoder = encoder
        self._dimensions = dimensions
        for folder in ("generations", "bases", "tails"):
            make_folder(index_dir / folder)
        self.logs: list[str] = []
        self._published: deque[tuple[float, str, Manifest]] = deque()
        loaded = None if rebuild else self._load()
        if loaded is None:
            self._start_new()
        else:
            self.manifest, self.tail = loaded
            self._open_tail(self.manifest.tail.name, self.manifest.tail.size_bytes)
            self.fold = self._resumed_fold()
            if self.manifest.format != FORMAT:
                self._publish(self.manifest.base)
        self._take_over()
        self._prune()

    def stage(self, entries: list[Entry]) -> None:
        """Append what the fold found; nobody sees it before the next `publish`."""
        tail_entries = self.tail.supersede(entries)
        self._append(encode_entries(tail_entries))
        failpoint("indexer-after-append")
        self.tail.append(tail_entries)

    def publish(self) -> Manifest:
        """Publish all that was staged and all that the fold has progressed to."""
        os.fdatasync(self._tail_descriptor)
        failpoint("indexer-after-sync")
        return self._publish(self.manifest.base)

    def set_logs(self, logs: list[str]) -> bool:
        """Name the gallery's logs, oldest first. False when they do not go on from the known ones: start a new index."""
        if logs[: len(self.logs)] != self.logs:
            return False
        self.logs = logs
        return True

    def next_base_name(self) -> str:
        """Name for the base that is built from the current generation."""
        return f"{self.manifest.index_id}-{self.manifest.generation:08d}"

    def replace_base(self, name: str, entries_merged: int) -> Manifest:
        """Publish on a base that was built from the first `entries_merged` entries of the tail."""
        failpoint("indexer-before-base")
        folder = self._index_dir / "bases" / name
        files = base_files(folder)
        base = load_base(folder, files, self._dimensions)
        later = self.tail.entries_from(entries_merged)
        self._start_tail(base)
        failpoint("indexer-after-new-tail")
        self.stage(later)
        os.fdatasync(self._tail_descriptor)
        return self._publish(BaseFiles(name, len(base.live), files))

    def current_name(self) -> str:
        """Name of the current generation's manifest."""
        return self._name

    def close(self) -> None:
        """Close the tail file."""
        os.close(self._tail_descriptor)

    def _load(self) -> tuple[Manifest, Tail] | None:
        try:
            name = current_name(self._index_dir)
            if name is None:
                return None
            manifest = read_manifest(self._index_dir, name)
            if manifest.dimensions != self._dimensions:
                raise IndexDamagedError(
                    f"{name} is of {manifest.dimensions} dimensions, the encoder gives {self._dimensions}."
                )
            reader = Reader(self._index_dir, self._encoder)
            reader.load(manifest)
            self._name = name
        except IndexDamagedError as error:
            logger.warning("starting a new index", because=str(error))
            return None
        return manifest, reader.tail()

    def _start_new(self) -> None:
        names = [path.name.partition("-")[0].partition(".")[0] for path in (self._index_dir / "generations").iterdir()]
        numbers = [int(name) for name in names if re.fullmatch("[0-9]{8,15}", name)]
        self.manifest = Manifest(
            index_id=uuid.uuid4().hex,
            generation=max(numbers, default=0),
            encoder=self._encoder,
            logs=[],
            count=0,
            base=BaseFiles("", 0, {}),
            tail=TailFile("", 0, 0, ""),
            rejected={},
            expired=0,
            digest="",
            published_at_ms=0,
            format=FORMAT,
            dimensions=self._dimensions,
        )
        self._start_tail(empty_base(self._dimensions))
        self.fold = self._resumed_fold()
        self._publish(self.manifest.base)

    def _resumed_fold(self) -> Fold:
        self.logs = [coverage.log for coverage in self.manifest.logs]
        progress = {
            (number, int(partition)): PartitionProgress(c.next_offset, c.effective_ms)
            for number, coverage in enumerate(self.manifest.logs)
            for partition, c in coverage.partitions.items()
        }
        return Fold(
            lambda image_id: self.tail.position(image_id),
            progress,
            Counter(self.manifest.rejected),
            self.manifest.expired,
            self.manifest.dimensions,
            UnusableRows(
                Counter(self.manifest.set_aside),
                {image_id: (found.position, found.reason) for image_id, found in self.manifest.not_shown.items()},
            ),
        )

    def _start_tail(self, base: Base) -> None:
        if hasattr(self, "_tail_descriptor"):
            os.close(self._tail_descriptor)
        self.tail = Tail(base)
        name = f"{base.name or self.manifest.index_id + '-00000000'}.tail"
        discard(self._index_dir / "tails" / name)
        self._open_tail(name, 0)

    def _open_tail(self, name: str, size_bytes: int) -> None:
        """Open a tail file behind its first `size_bytes`; what a crash left beyond them was never published."""
        path = self._index_dir / "tails" / name
        self._tail_name = name
        if path.is_symlink():  # what it leads to is not ours to write
            content = read_whole(path)
            discard(path)
            path.write_bytes(content)
        self._tail_descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._tail_descriptor, size_bytes)
        self._tail_sha256 = hashlib.sha256(path.read_bytes())
        self._tail_size_bytes = os.lseek(self._tail_descriptor, 0, os.SEEK_END)

    def _append(self, blob: bytes) -> None:
        view = memoryview(blob)
        while view:
            view = view[os.write(self._tail_descriptor, view) :]
        self._tail_sha256.update(blob)
        self._tail_size_bytes += len(blob)

    def _publish(self, base: BaseFiles) -> Manifest:
        """Files first, then the manifest, then the rename that makes it current."""
        tail = TailFile(self._tail_name, len(self.tail.entries), self._tail_size_bytes, self._tail_sha256.hexdigest())
        self.manifest = Manifest(
            index_id=self.manifest.index_id,
            generation=self.manifest.generation + 1,
            encoder=self._encoder,
            logs=self._coverage(),
            count=self.tail.count,
            base=base,
            tail=tail,
            rejected=dict(self.fold.rejected),
            expired=self.fold.expired,
            digest=digest_of(base, tail),
            published_at_ms=time.time_ns() // 1_000_000,
            format=FORMAT,
            dimensions=self.manifest.dimensions,
            set_aside=dict(self.fold.unusable.counts),
            not_shown={
                image_id: NotShown(Position(*position), reason)
                for image_id, (position, reason) in self.fold.unusable.not_shown.items()
            },
        )
        self._name, content = write_manifest(self.manifest)
        write_whole(self._index_dir / "generations" / self._name, content)
        failpoint("indexer-after-manifest")
        write_whole(self._index_dir / CURRENT, self._name.encode())
        failpoint("indexer-after-current")
        self._published.append((time.monotonic(), self._name, self.manifest))
        self._prune()
        return self.manifest

    def _coverage(self) -> list[LogCoverage]:
        partitions: list[dict[str, PartitionCoverage]] = [{} for _ in self.logs]
        for (number, partition), progress in sorted(self.fold.progress.items()):
            partitions[number][str(partition)] = PartitionCoverage(progress.next_offset, progress.effective_ms)
        return [LogCoverage(name, found) for name, found in zip(self.logs, partitions, strict=True)]

    def _take_over(self) -> None:
        """Know what earlier writers published, so that it is deleted in its turn, and delete what they had not finished."""
        found = []
        for path in (self._index_dir / "generations").iterdir():
            try:
                manifest = read_manifest(self._index_dir, path.name)
                age_s = time.time() - path.stat().st_mtime
            except (IndexDamagedError, OSError):  # an older format, or half of a file: nobody can read it
                discard(path)
                continue
            if path.name != self._name:
                found.append((manifest.generation, path.name, age_s, manifest))
        now = time.monotonic()
        earlier = [(now - age_s, name, manifest) for _, name, age_s, manifest in sorted(found, key=itemgetter(0, 1))]
        self._published = deque([*earlier, (now, self._name, self.manifest)])
        for folder, used in (
            ("bases", {manifest.base.name for _, _, manifest in self._published}),
            ("tails", {manifest.tail.name for _, _, manifest in self._published}),
        ):
            for path in (self._index_dir / folder).iterdir():
                if path.name not in used:
                    discard(path)

    def _prune(self) -> None:
        """Delete generations that are neither among the last 8 nor younger than a minute, and files only they used."""
        now = time.monotonic()
        dropped = []
        while len(self._published) > GENERATIONS_KEPT and now - self._published[0][0] > GENERATIONS_KEPT_S:
            dropped.append(self._published.popleft())
        for _, name, _ in dropped:
            discard(self._index_dir / "generations" / name)
            failpoint("indexer-while-pruning")
        bases = {manifest.base.name for _, _, manifest in self._published}
        tails = {manifest.tail.name for _, _, manifest in self._published}
        for _, _, manifest in dropped:
            if manifest.base.name and manifest.base.name not in bases:
                discard(self._index_dir / "bases" / manifest.base.name)
            if manifest.tail.name not in tails:
                discard(self._index_dir / "tails" / manifest.tail.name)
