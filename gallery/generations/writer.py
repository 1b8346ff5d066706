"""Writes the index folder: one process at a time, each generation whole, by atomic rename."""

import fcntl
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable
from copy import copy
from pathlib import Path

import structlog

from contract.errors import IndexDamagedError
from gallery.generations.base import empty_base
from gallery.generations.content import ContentSum
from gallery.generations.files import discard, make_folder, write_whole
from gallery.generations.fold import Entry, Fold, PartitionProgress, Position
from gallery.generations.history import first_replaced_ms
from gallery.generations.kept import Kept
from gallery.generations.manifest import (
    CURRENT,
    FORMAT,
    BaseFiles,
    LogCoverage,
    Manifest,
    NotShown,
    OtherFormat,
    PartitionCoverage,
    current_name,
    digest_of,
    read_manifest,
    read_other_format,
    write_manifest,
)
from gallery.generations.next_tail import CARRIED_ENTRIES_MIN, NextTail, append_entries
from gallery.generations.reader import Reader
from gallery.generations.retention import Retention
from gallery.generations.tail import Tail
from gallery.generations.tail_file import TailAppender, new_tail_file
from gallery.generations.unusable_rows import UnusableRows
from runtime.failpoints import failpoint
from runtime.planted import planted

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
    it belongs to another encoder or format. One of another format stays current, so that programs of that version answer
    from it, until the new one covers as much.

    Args:
        fingerprint: of the encoder.
        dimensions: of its embeddings.
        rebuild: start a new index although the current one is good.
        clock: seconds that only go forward, for how long generations are kept.
        wall_clock: seconds since 1970, for when they were published.

    Attributes:
        fold: what was folded so far; the caller adds rows to it and publishes what comes out.
        manifest: of the generation that was published last.
    """

    def __init__(
        self,
        index_dir: Path,
        fingerprint: str,
        dimensions: int = 128,
        *,
        rebuild: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._index_dir = index_dir
        self._fingerprint = fingerprint
        self._dimensions = dimensions
        self._wall_clock = wall_clock
        for folder in ("generations", "bases", "tails"):
            make_folder(index_dir / folder)
        self.logs: list[str] = []
        self._next: NextTail | None = None
        self._content = ContentSum()
        self._retention = Retention(index_dir, clock=clock, wall_clock=wall_clock)
        loaded = None if rebuild else self._load()
        self._other = None if rebuild else read_other_format(index_dir)
        if loaded is None:
            self._start_new()
        else:
            self.manifest, self.tail = loaded
            tail_file = self.manifest.tail
            self._tail_file = TailAppender(index_dir / "tails" / tail_file.name, tail_file.size_bytes)
            self.fold = self._resumed_fold()
        if self._other is None:
            self._retention.take_over(self._name, self.manifest)

    def stage(self, entries: list[Entry]) -> None:
        """Append what the fold found; nobody sees it before the next `publish`."""
        tail_entries = self.tail.supersede(entries)
        content = copy(self._content)
        content.follow(self.tail, tail_entries, self.logs)
        append_entries(self.tail, self._tail_file, tail_entries)
        self._content = content

    def publish(self) -> Manifest:
        """Publish all that was staged and all that the fold has progressed to."""
        self._tail_file.sync()
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
        self.begin_base(name, entries_merged)
        while (manifest := self.carry_over()) is None:
            pass
        return manifest

    def begin_base(self, name: str, entries_merged: int) -> None:
        """Begin the tail of such a base, beside the one that goes on: `carry_over` brings to it what came since.

        Raises:
            IndexDamagedError: the base is not as it was built.
        """
        failpoint("indexer-before-base")
        self._close_next()
        count = self.tail.count_of_entries
        merged = count if planted("merge-drops-the-tail") else entries_merged
        self._next = NextTail(self._index_dir, name, self._dimensions, entries_merged=merged, entries=count)
        failpoint("indexer-after-new-tail")

    def carry_over(self, entries_min: int = CARRIED_ENTRIES_MIN) -> Manifest | None:
        """As `NextTail.carry_over`; publish on the base that was begun once it has all, else None."""
        following = self._next
        if following is None or not following.carry_over(self.tail, entries_min):
            return None
        self._next = None
        self._tail_file.close()
        self.tail, self._tail_file = following.tail, following.file
        return self._publish(following.base)

    def oldest_history_ms(self) -> int | None:
        """Effective time of the first record that replaced one that is still kept; None where none is."""
        kept = Kept(self.tail, self.tail.count_of_entries)
        return first_replaced_ms(kept.ids, kept.positions)

    def current_name(self) -> str:
        """Name of the current generation's manifest."""
        return self._name

    def close(self) -> None:
        """Close the tail files."""
        self._tail_file.close()
        self._close_next()

    def _close_next(self) -> None:
        if self._next is not None:
            self._next.file.close()
            self._next = None

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
            reader = Reader(self._index_dir, self._fingerprint)
            reader.load(manifest)
            self._name = name
        except IndexDamagedError as error:
            logger.warning("starting a new index", because=str(error))
            return None
        return manifest, reader.tail()

    def _start_new(self) -> None:
        names = [path.name.partition("-")[0].partition(".")[0] for path in (self._index_dir / "generations").iterdir()]
        numbers = [int(name) for name in names if re.fullmatch("[0-9]{8,15}", name)]
        self.manifest = Manifest.nothing_yet(
            uuid.uuid4().hex,
            self._fingerprint,
            self._dimensions,
            max(numbers, default=0),
            FORMAT,
        )
        self.tail = Tail(empty_base(self._dimensions))
        self._tail_file = new_tail_file(self._index_dir, f"{self.manifest.index_id}-00000000")
        self.fold = self._resumed_fold()
        self._publish(self.manifest.base)

    def _resumed_fold(self) -> Fold:
        self.logs = [coverage.log for coverage in self.manifest.logs]
        self._content = ContentSum(self.manifest.content_digest)
        progress = {
            (number, int(partition)): PartitionProgress(c.next_offset, c.effective_ms)
            for number, coverage in enumerate(self.manifest.logs)
            for partition, c in coverage.partitions.items()
        }
        return Fold(
            lambda image_id: self.tail.latest(image_id),
            progress,
            Counter(self.manifest.rejected),
            self.manifest.expired,
            self.manifest.dimensions,
            UnusableRows(
                Counter(self.manifest.set_aside),
                {image_id: (found.position, found.reason) for image_id, found in self.manifest.not_shown.items()},
            ),
        )

    def _publish(self, base: BaseFiles) -> Manifest:
        """Files first, then the manifest, then the rename that makes it current."""
        tail = self._tail_file.described(self.tail.count_of_entries)
        self.manifest = Manifest(
            index_id=self.manifest.index_id,
            generation=self.manifest.generation + 1,
            encoder=self._fingerprint,
            logs=self._coverage(),
            count=self.tail.count,
            base=base,
            tail=tail,
            rejected=dict(self.fold.rejected),
            expired=self.fold.expired,
            digest=digest_of(base, tail),
            content_digest=self._content.digest,
            published_at_ms=int(self._wall_clock() * 1000),
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
        if self._other is not None and self._answers_still(self._other):
            self._retention.note(self._name, self.manifest)
            return self.manifest
        write_whole(self._index_dir / CURRENT, self._name.encode())
        if self._other is not None:  # what it left may go now
            self._other = None
            self._retention.take_over(self._name, self.manifest)
            return self.manifest
        if planted("writer-publishes-older") and self.manifest.generation % 5 == 0:
            names = sorted(path.name for path in (self._index_dir / "generations").iterdir())
            write_whole(self._index_dir / CURRENT, names[-3].encode())
        failpoint("indexer-after-current")
        self._retention.note(self._name, self.manifest)
        return self.manifest

    def _answers_still(self, other: OtherFormat) -> bool:
        """Whether an index of another format covers what this one does not yet, and will."""
        if other.encoder != self._fingerprint:
            return False
        logs = {coverage.log for coverage in other.logs}
        return (not self.logs or logs <= set(self.logs)) and not self.manifest.covers(other)

    def _coverage(self) -> list[LogCoverage]:
        partitions: list[dict[str, PartitionCoverage]] = [{} for _ in self.logs]
        for (number, partition), progress in sorted(self.fold.progress.items()):
            partitions[number][str(partition)] = PartitionCoverage(progress.next_offset, progress.effective_ms)
        return [LogCoverage(name, found) for name, found in zip(self.logs, partitions, strict=True)]
