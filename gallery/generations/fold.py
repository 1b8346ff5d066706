"""The fold: which Kafka record each image id means, decided from feed rows alone.

Records of one id are ordered by (log, effective time, partition, offset), where effective time is the running maximum of
LogAppendTime in the partition; the last one wins. The result does not depend on how partitions are interleaved, because
a record's place in that order depends on its own partition only, and the winner is a maximum.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gallery.generations.unusable_rows import UnusableRow, UnusableRows, is_id, why_unusable
from gallery.store.rows import FeedRow
from runtime.planted import planted

EXPIRED = "expired-before"


class Position(NamedTuple):
    """A record's place in the order of all records; comparing two tells which one wins.

    It names the log by number, and holds no `RecordKey`, since a base keeps it as a row of five integers.

    Attributes:
        log_number: place of the record's log among the gallery's logs, oldest 0.
        effective_ms: running maximum of LogAppendTime in the partition, milliseconds since 1970.
        partition, offset: where the record stands in its log.
        kafka_time_ms: the record's own LogAppendTime.
    """

    log_number: int
    effective_ms: int
    partition: int
    offset: int
    kafka_time_ms: int


class Entry(NamedTuple):
    """A put or delete: from here on `image_id` means it, unless it came late. Without an embedding it is a delete.

    Attributes:
        metadata: "" for a delete.
        is_late: a record that wins over it was met before, from a faster partition: only an earlier time may mean it.
    """

    image_id: str
    position: Position
    embedding: bytes | None
    metadata: str
    is_late: bool = False


@dataclass
class PartitionProgress:
    """How far one partition of one log was folded: all records below `next_offset`."""

    next_offset: int = 0
    effective_ms: int = 0


@dataclass
class Fold:
    """Takes feed rows in offset order, partition by partition, and says what each changes.

    Attributes:
        latest: position of the record that an id means so far (a delete counts), None for an unknown id.
        progress: by (log number, partition).
        rejected: records refused so far, by reason.
        expired: offsets that Kafka expired before they were embedded.
        dimensions: that an embedding must have.
        unusable: rows that cannot be used. An id means what its other records say.
    """

    latest: Callable[[str], Position | None]
    progress: dict[tuple[int, int], PartitionProgress] = field(default_factory=dict)
    rejected: Counter[str] = field(default_factory=Counter)
    expired: int = 0
    dimensions: int = 128
    unusable: UnusableRows = field(default_factory=UnusableRows)

    def follow(self, log_number: int, partition: int) -> None:
        """Cover a partition from its beginning, unless it is covered already."""
        self.progress.setdefault((log_number, partition), PartitionProgress())

    def add(self, log_number: int, partition: int, rows: Iterable[FeedRow]) -> list[Entry]:
        """Fold the rows that follow on what was folded; stop at a gap, whose rows are still being written.

        Returns:
            All puts and deletes, in the order in which they were met.
        """
        self.follow(log_number, partition)
        progress = self.progress[log_number, partition]
        entries: list[Entry] = []
        met: dict[str, Position] = {}
        keeps_greatest = not planted("fold-takes-kafkas-time")  # asked once: rows come by the thousand
        for row in rows:
            offset = row.key.offset
            if offset < progress.next_offset:
                continue
            if row.after > progress.next_offset and not planted("fold-passes-gaps"):
                break
            if EXPIRED in row.reason.split():
                self.expired += offset + (row.outcome == "gap") - progress.next_offset
            progress.next_offset = offset + 1
            progress.effective_ms = max(progress.effective_ms * keeps_greatest, row.kafka_time_ms)
            if row.outcome == "gap" or (row.outcome == "delete" and planted("fold-forgets-deletes")):
                continue
            why = why_unusable(row, self.dimensions)
            if row.outcome == "reject" and not why:
                self.rejected[row.reason.split()[0]] += 1
                continue
            position = Position(log_number, progress.effective_ms, partition, offset, row.kafka_time_ms)
            latest = met.get(row.image_id)
            # Of an id that cannot be one, nothing is known and nothing can be asked.
            if latest is None and is_id(row.image_id):
                latest = self.latest(row.image_id)
            if why:
                found = UnusableRow(row.key, row.image_id, why, row.origin.request_id)
                # A refused record changes nothing for its id, so nothing of that id is missing.
                self.unusable.take(found, position, latest, shows=row.outcome != "reject")
                continue
            is_late = latest is not None and position < latest and not planted("fold-takes-the-last-read")
            embedding, metadata = (row.embedding, row.metadata or "") if row.outcome == "put" else (None, "")
            entries.append(Entry(row.image_id, position, embedding, metadata, is_late))
            if not is_late:
                met[row.image_id] = position
                self.unusable.supersede(row.image_id, position)
        return entries
