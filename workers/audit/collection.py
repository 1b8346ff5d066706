"""Compares one collection's topic with its feed, its records and its index, a piece of a partition at a time."""

import time
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.store.store import Store
from model.pictures.decoder import Decoder
from topics.topic import Topic
from workers.audit.comparing import ComparedIndex, Finding, compare_feed, compare_records, is_by_chance
from workers.audit.deriving import TopicPieces, derive
from workers.embedder.outcomes import Judged

# A row that is older than this was not overtaken by others of its batch: one that is missing before it will not come.
_SETTLED_S = 30.0
_BEYOND_ROWS_MAX = 10_000


class Checked(NamedTuple):
    """What was found in a piece: of the records in [start, reached)."""

    findings: list[Finding]
    judged: list[Judged]
    reached: int


class Extent(NamedTuple):
    """What of a partition can be compared: records from `first` on, which Kafka still holds, below `end`, which is stored.

    Attributes:
        topic_end: behind the last record of the topic.
    """

    first: int
    end: int
    topic_end: int


class ComparedCollection:
    """One collection, its topic as it is now, and the encoder that answers. Not thread-safe.

    Args:
        settings: of the collection, with that encoder.
        fingerprint: of the encoder.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        decoder: Decoder,
        *,
        fingerprint: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._decoder, self._fingerprint, self._clock = store, decoder, fingerprint, clock
        self._topic, self._pieces = Topic(settings), TopicPieces(settings)
        self._reader = Reader(settings.encoder_index_dir, fingerprint)

    def extents(self) -> tuple[str, dict[int, Extent]]:
        """The topic's log, and what of each of its partitions can be compared.

        Raises:
            DependencyError: Kafka or Cassandra did not answer.
            ConfigurationError: there is no such topic.
        """
        log = self._topic.check()
        index = self._index(log)
        extents = {}
        for partition, (first, topic_end) in self._pieces.offsets().items():
            covered = index.covered(partition) if index else 0
            end = self._settled_end(RecordKey(log, partition, max(first, covered)))
            extents[partition] = Extent(first, min(end, topic_end), topic_end)
        for partition in self._store.feed.partitions(log, fingerprint=self._fingerprint) - extents.keys():
            extents[partition] = Extent(0, 0, 0)
        return log, extents

    def check(self, log: str, partition: int, start: int, end: int) -> Checked:
        """Compare the records of a piece, as far as they fit into memory.

        Raises:
            DependencyError, ConfigurationError: as `extents`.
            TopicReplacedError: the topic is another one by now.
        """
        index = self._index(log)
        records, reached = self._pieces.read(partition, start, end)
        judged = derive(records, self._decoder)
        walked = self._store.feed.walk(
            RecordKey(log, partition, start), fingerprint=self._fingerprint, end_offset=reached
        )
        rows = {row.key.offset: row for row in walked}
        held = {record.offset for record in records}
        first = self._pieces.offsets()[partition][0]
        self._topic.verify(log)
        # What Kafka has expired by now may have had a record.
        extra = [o for o, row in rows.items() if row.outcome != "gap" and o not in held and o >= first]
        found = compare_feed(log, judged, rows, extra)
        found += compare_records(log, judged, self._store.records)
        if index:
            covered = min(reached, index.covered(partition))
            unsure = {each.record.offset for each in judged if is_by_chance(each, rows.get(each.record.offset))}
            inside = [each for each in judged if each.record.offset < covered]
            found += index.compare(partition, max(start, first), covered, inside, unsure)
        return Checked(found, judged, reached)

    def check_beyond(self, log: str, partition: int) -> list[Finding]:
        """What is stored or found of records behind the last one of the topic; raises as `check`."""
        _, end = self._pieces.offsets().get(partition, (0, 0))
        index = self._index(log)
        start = RecordKey(log, partition, end)
        walked = self._store.feed.walk(start, fingerprint=self._fingerprint)
        rows = {row.key.offset: row for row in islice(walked, _BEYOND_ROWS_MAX)}
        # Asked after the rows were read, which exist only once their records do.
        _, end = self._pieces.offsets().get(partition, (0, 0))
        self._topic.verify(log)
        found = compare_feed(log, [], rows, [offset for offset in rows if offset >= end])
        return found + (index.compare(partition, end, None, []) if index else [])

    def close(self) -> None:
        """Close the connections; the decoder is the caller's."""
        self._pieces.close()
        self._topic.close()

    def snapshot(self) -> Snapshot | None:
        """The newest generation."""
        return self._reader.current()

    def _index(self, log: str) -> ComparedIndex | None:
        snapshot = self._reader.current()
        return None if snapshot is None else ComparedIndex(snapshot, log, self._store.feed)

    def _settled_end(self, start: RecordKey) -> int:
        """From where on rows may still come, although a row behind them is there."""
        end, settled_ms = start.offset, (self._clock() - _SETTLED_S) * 1000
        for row in islice(self._store.feed.walk(start, fingerprint=self._fingerprint), _BEYOND_ROWS_MAX):
            if row.embedded_at_ms < settled_ms:
                end = row.key.offset + 1
        return end
