"""Writes a table of embeddings: one indexer at a time, rows first, and then what they let the table cover.

A row says what its id means, so writing it twice changes nothing. What the table covers says also how many images there are and
their content digest. Both are counted from what each id counted for before. A row that is not covered yet, since whoever wrote it
was killed, keeps that in `before`: so both are exact, wherever it was killed.

The timestamps of rows are the writer's epoch and how often it wrote. So what one that was taken over from still sends loses
against what its successor wrote, and its successor has read everything that it covers itself.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import structlog

from contract.errors import DependencyError, IndexDamagedError
from gallery.generations.content import ContentSum, content_number
from gallery.generations.fold import Entry, Fold, PartitionProgress, Position
from gallery.generations.manifest import LogCoverage, NotShown, PartitionCoverage
from gallery.generations.unusable_rows import UnusableRows, is_id
from gallery.store.embedding_tables import EmbeddingTables, RegisteredTable
from gallery.store.embeddings import EmbeddingRow
from gallery.store.rows import FeedRow
from gallery.table.facts import facts_of
from gallery.table.manifest import (
    NAMED_NEWEST_MAX,
    TABLE_FORMAT,
    NamedNewest,
    TableManifest,
    manifest_text,
    read_table_manifest,
)
from runtime.failpoints import failpoint

# Who stands by takes over after five beats that did not come (gallery/table/lease.py).
BEAT_S = 2.0
# A table that answers no longer goes once nobody can be searching in it.
DROP_AFTER_S = 10.0
_NUMBER_BYTES = 32
# Below it a timestamp has room for how often one writer wrote.
_EPOCH_BITS = 32

logger = structlog.get_logger()


@dataclass
class _Meaning:
    """What an id means, and what it counted for in what is covered now.

    Attributes:
        entry: that said so, where it is to be written.
    """

    position: Position | None
    content: bytes | None
    before: bytes | None
    entry: Entry | None = None


class TableWriter:
    """The next coverage of a table. Goes on from the one that is covered now, or begins a new table, as `Writer` an index.

    Args:
        mine: the row that the caller has taken.
        fingerprint: of the encoder.
        dimensions: of its embeddings.
        rebuild: begin a new table although the current one is good.
        clock: seconds that only go forward.
        wall_clock: seconds since 1970.

    Attributes:
        fold: what was folded so far; the caller adds rows to it and publishes what comes out.
        manifest: what is covered.
        logs: of the gallery, oldest first.
        is_due: something that was staged is not published yet, since Cassandra failed.
    """

    def __init__(
        self,
        tables: EmbeddingTables,
        mine: RegisteredTable,
        fingerprint: str,
        dimensions: int,
        *,
        rebuild: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._tables, self._mine = tables, mine
        self._fingerprint, self._dimensions = fingerprint, dimensions
        self._clock, self._wall_clock = clock, wall_clock
        self._meanings: dict[str, _Meaning] = {}
        self._written = 0
        self._beaten_s = clock()
        self._drop_s: float | None = None
        self.is_due = False
        found = None if rebuild else self._load()
        self.manifest = found or self._begin()
        self._table = self._tables.table(self.manifest.index_id, dimensions)
        self._table.create()
        self._drop_unnamed()
        self.logs = [coverage.log for coverage in self.manifest.logs]
        self.fold = self._resumed_fold()

    def set_logs(self, logs: list[str]) -> bool:
        """As `Writer.set_logs`."""
        if logs[: len(self.logs)] != self.logs:
            return False
        self.logs = logs
        return True

    def prefetch(self, rows: Iterable[FeedRow]) -> None:
        """Ask Cassandra at once what the ids of these rows mean, before they are folded."""
        named = {row.image_id for row in rows if row.outcome != "gap" and is_id(row.image_id)}
        self._ask(named - self._meanings.keys())

    def stage(self, entries: Iterable[Entry]) -> None:
        """Take what the fold found; nobody sees it before the next `publish`."""
        for entry in entries:
            if not entry.is_late:
                meaning = self._meanings[entry.image_id]
                meaning.position, meaning.entry = entry.position, entry
                meaning.content = self._content(entry)

    def publish(self) -> TableManifest:
        """Write all that was staged, and then that it is covered.

        Raises:
            DependencyError: Cassandra failed; nothing was lost, publish again.
            TableTakenError: another indexer has taken over.
        """
        self.is_due = True
        changed = [(image_id, meaning) for image_id, meaning in self._meanings.items() if meaning.entry is not None]
        self._written += 1
        failpoint("indexer-before-rows")
        self._table.write(self._rows(changed), (self._mine.epoch << _EPOCH_BITS) + self._written)
        failpoint("indexer-after-rows")
        manifest = self._next(changed)
        answers = self._mine.answers
        if answers and _is_covered_by(manifest, answers):
            answers, self._drop_s = "", self._clock() + DROP_AFTER_S
        self._mine = self._tables.commit(self._mine, manifest_text(manifest), answers)
        failpoint("indexer-after-coverage")
        self.manifest, self.is_due, self._beaten_s = manifest, False, self._clock()
        self._meanings.clear()
        return manifest

    def keep(self) -> None:
        """Tell who stands by that this writer lives; cheap when it was told a moment ago.

        Raises: as `publish`.
        """
        if self._clock() - self._beaten_s >= BEAT_S:
            self._mine, self._beaten_s = self._tables.beat(self._mine), self._clock()
        if self._drop_s is not None and self._clock() >= self._drop_s:
            self._drop_unnamed()
            self._drop_s = None

    def close(self) -> None:
        """Nothing is open."""

    def _drop_unnamed(self) -> None:
        """A table that is left costs space, and nobody an answer: whoever opens one next tries again."""
        try:
            self._tables.drop_unnamed()
        except DependencyError as error:
            logger.warning("tables of embeddings left", detail=error.detail)

    def _load(self) -> TableManifest | None:
        if not self._mine.manifest:
            return None
        try:
            found = read_table_manifest(self._mine.manifest)
            if found.dimensions != self._dimensions:
                raise IndexDamagedError(
                    f"The table is of {found.dimensions} dimensions, the encoder gives {self._dimensions}."
                )
            if found.is_begun and not self._tables.table(found.index_id, found.dimensions).is_there():
                raise IndexDamagedError("The table is gone.")
        except IndexDamagedError as error:
            logger.warning("starting a new table", because=str(error))
            return None
        return found

    def _begin(self) -> TableManifest:
        """Say that there is a new table; the one before answers until the new one covers as much."""
        number, now_ms, index_id = self._mine.generation + 1, int(self._wall_clock() * 1000), uuid.uuid4().hex
        begun = TableManifest.nothing_yet(index_id, self._fingerprint, self._dimensions, number, TABLE_FORMAT, now_ms)
        answers = self._mine.answering
        if answers and _is_covered_by(begun, answers):
            answers = ""
        self._mine = self._tables.commit(self._mine, manifest_text(begun), answers)
        return begun

    def _resumed_fold(self) -> Fold:
        manifest = self.manifest
        progress = {
            (number, int(partition)): PartitionProgress(c.next_offset, c.effective_ms)
            for number, coverage in enumerate(manifest.logs)
            for partition, c in coverage.partitions.items()
        }
        not_shown: dict[str, tuple[tuple[int, ...], str]] = {
            image_id: (found.position, found.reason) for image_id, found in manifest.not_shown.items()
        }
        return Fold(
            self._latest,
            progress,
            Counter(manifest.rejected),
            manifest.expired,
            manifest.dimensions,
            UnusableRows(Counter(manifest.set_aside), not_shown),
        )

    def _latest(self, image_id: str) -> Position | None:
        if image_id not in self._meanings:
            self._ask({image_id})
        return self._meanings[image_id].position

    def _ask(self, image_ids: set[str]) -> None:
        found = self._table.meanings(sorted(image_ids)) if image_ids else {}
        for image_id in image_ids:
            row = found.get(image_id)
            if row is None:
                self._meanings[image_id] = _Meaning(None, None, None)
            else:
                position = Position(*row.position)
                before = row.content if self._is_covered(position) else row.before
                self._meanings[image_id] = _Meaning(position, row.content, before)

    def _is_covered(self, position: Position) -> bool:
        if position.log_number >= len(self.manifest.logs):
            return False
        partition = self.manifest.logs[position.log_number].partitions.get(str(position.partition))
        return partition is not None and position.offset < partition.next_offset

    def _content(self, entry: Entry) -> bytes | None:
        if entry.embedding is None:
            return None
        number = content_number(entry.image_id.encode(), entry.position, entry.embedding, self.logs)
        return number.to_bytes(_NUMBER_BYTES, "big")

    def _rows(self, changed: list[tuple[str, _Meaning]]) -> Iterable[EmbeddingRow]:
        for image_id, meaning in changed:
            entry = meaning.entry
            assert entry is not None
            facts = frozenset() if entry.embedding is None else facts_of(entry.metadata)
            yield EmbeddingRow(
                image_id, entry.position, entry.embedding, entry.metadata, facts, meaning.content, meaning.before
            )

    def _next(self, changed: list[tuple[str, _Meaning]]) -> TableManifest:
        manifest, content = self.manifest, ContentSum(self.manifest.content_digest)
        newest = {each.image_id: each for each in manifest.newest}
        for image_id, meaning in sorted(changed, key=lambda each: each[1].position or ()):
            content.change(_number(meaning.before), _number(meaning.content))
            newest.pop(image_id, None)
            if meaning.content is not None and meaning.position is not None:
                newest[image_id] = NamedNewest(image_id, meaning.position)
        count = manifest.count + sum((m.content is not None) - (m.before is not None) for _, m in changed)
        return msgspec.structs.replace(
            manifest,
            generation=manifest.generation + 1,
            logs=self._coverage(),
            count=count,
            base=msgspec.structs.replace(manifest.base, count=count),
            rejected=dict(self.fold.rejected),
            expired=self.fold.expired,
            digest=content.digest,
            content_digest=content.digest,
            published_at_ms=int(self._wall_clock() * 1000),
            set_aside=dict(self.fold.unusable.counts),
            not_shown={
                image_id: NotShown(Position(*position), reason)
                for image_id, (position, reason) in self.fold.unusable.not_shown.items()
            },
            newest=list(newest.values())[-NAMED_NEWEST_MAX:],
        )

    def _coverage(self) -> list[LogCoverage]:
        partitions: list[dict[str, PartitionCoverage]] = [{} for _ in self.logs]
        for (number, partition), progress in sorted(self.fold.progress.items()):
            partitions[number][str(partition)] = PartitionCoverage(progress.next_offset, progress.effective_ms)
        return [LogCoverage(name, found) for name, found in zip(self.logs, partitions, strict=True)]


def _number(content: bytes | None) -> int:
    return 0 if content is None else int.from_bytes(content, "big")


def _is_covered_by(manifest: TableManifest, answers: str) -> bool:
    """Whether a table that answers is needed no more: it cannot be read, or is covered."""
    try:
        return manifest.covers(read_table_manifest(answers))
    except IndexDamagedError:
        return True
