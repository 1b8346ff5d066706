"""The indexer of one collection: follows its feed, folds it, and publishes what comes out: generations, or rows of a table."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor

import structlog

from contract import telemetry
from contract.errors import NewerVersionError
from contract.origin import requests_told
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.writer import Writer
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from gallery.table.writer import TableWriter
from workers.bases import Bases
from workers.followed import follow_indexed

READ_ROWS_MAX = 2048
# Of each partition where rows of a table are written, some 1,000 a second: nobody waits long for what is covered, or for his turn. The
# same for every step: so one that was killed is followed by one that reads at least what it had written.
TABLE_READ_ROWS_MAX = 256
# Of the rows that one step sets aside, so many are named in the log.
ROWS_TOLD_MAX = 20
LOGS_INTERVAL_S = 1.0
# A hole wider than a feed bucket is found by listing all buckets: seldom needed, so seldom asked.
HOLES_INTERVAL_S = 5.0
# The list of buckets may be so old, so that all collections of a process share one; where it only tells partitions that were added,
# older, since it costs Cassandra some 20 ms, and more as the feed grows.
LISTING_AGE_S = 1.0
PARTITIONS_AGE_S = 4.0

logger = structlog.get_logger()


class Indexer:
    """Reads each partition's feed past its watermark, publishes, and has bases built in the background.

    Args:
        settings: of the collection.
        writer: of the engine that answers for the collection.
        begin_anew: a writer of a new index, in the place of that one.
        name: of the collection.
        fingerprint: of the encoder whose feed is followed.
        logs_of: names of a topic's logs, the one seen first in front.
        pool: reads partitions side by side.
        may_build: whether a base may begin to be built now.
        clock: seconds that only go forward.
        wall_clock: seconds since 1970, for how long history is kept.

    Attributes:
        is_behind: the last step read as much of a partition as a step may, so there is more.
        is_beside: another engine's index answers, and metrics and spans are of that one.
    """

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        writer: Writer | TableWriter,
        *,
        begin_anew: Callable[[], Writer | TableWriter],
        name: str,
        fingerprint: str,
        logs_of: Callable[[str], list[str]],
        pool: Executor,
        may_build: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._name = name
        self._fingerprint = fingerprint
        self._feed = feed
        self._clock = clock
        self._writer = writer
        self._begin_anew = begin_anew
        self._logs_of = logs_of
        self._pool = pool
        self._bases = Bases(settings, name, may_build=may_build, clock=clock, wall_clock=wall_clock)
        self._logs_read = self._holes_looked_for = float("-inf")
        self._newer: set[str] = set()
        self.is_behind = self.is_beside = False

    @property
    def is_building(self) -> bool:
        """Whether a base is being built."""
        return self._bases.is_building

    @property
    def partition_count(self) -> int:
        """How many partitions one step asks for."""
        return len(self._writer.fold.progress)

    def step(self, rows_max: int = READ_ROWS_MAX) -> bool:
        """Read once, publish what is new, look after the base. False when there was nothing new.

        Args:
            rows_max: of each partition.

        Raises:
            DependencyError: Cassandra failed; nothing was lost, step again.
            FileNotFoundError: the index folder was deleted under the writer; opening it again begins a new index.
            TableTakenError: another indexer writes the table of embeddings by now.
        """
        self._look_after_writer()
        self._follow_logs()
        if isinstance(self._writer, TableWriter):
            rows_max = min(rows_max, TABLE_READ_ROWS_MAX)
        began, began_ns = self._clock(), time.time_ns()
        before = self._progress()
        entries = []
        read = self._read(rows_max)
        self.is_behind = any(len(rows) >= rows_max for rows in read.values())
        if isinstance(self._writer, TableWriter):
            self._writer.prefetch(row for rows in read.values() for row in rows)
        for (number, partition), rows in read.items():
            found = self._writer.fold.add(number, partition, rows)
            entries += found
            # Partitions share ids, so what one brought must be seen by the next.
            self._writer.stage(found)
        advanced = before != self._progress()
        self._tell_of_set_aside()
        if advanced:
            manifest = self._writer.publish()
            if not self.is_beside:
                telemetry.GENERATION.labels(self._name).set(manifest.generation)
                telemetry.INDEX_IMAGES.labels(self._name).set(manifest.count)
                telemetry.TAIL_ENTRIES.labels(self._name).set(manifest.tail.entries)
            logger.info(
                "published",
                collection=self._name,
                generation=manifest.generation,
                entries=len(entries),
                count=manifest.count,
                tail=manifest.tail.entries,
                ms=round((self._clock() - began) * 1000, 1),
                **({"beside": self._settings.engine} if self.is_beside else {}),
                **requests_told(row.origin for row in self._covered(read)),
            )
            if not self.is_beside:
                follow_indexed(self._covered(read), manifest, collection=self._name, began_ns=began_ns)
        if isinstance(self._writer, Writer):
            self._bases.tend(self._writer)
        return advanced

    def close(self) -> None:
        """End the base that is being built and release files."""
        self._bases.close()
        self._writer.close()

    def _look_after_writer(self) -> None:
        """See that the index is still ours and there, and publish what Cassandra did not take at the last step."""
        if isinstance(self._writer, TableWriter):
            if self._writer.is_due:
                self._writer.publish()
            self._writer.keep()
        elif not (self._settings.encoder_index_dir / "CURRENT").exists():
            raise FileNotFoundError(
                f"{self._settings.encoder_index_dir}/CURRENT was deleted: the feed is to be indexed anew."
            )

    def _covered(self, read: Mapping[tuple[int, int], list[FeedRow]]) -> Iterator[FeedRow]:
        """Of the rows that were read those that were folded; at a gap the others wait."""
        ends = self._progress()
        return (row for key, rows in read.items() for row in rows if row.key.offset < ends[key])

    def _tell_of_set_aside(self) -> None:
        told = self._writer.fold.unusable.tell()
        if self.is_beside:
            return
        if len(told) > ROWS_TOLD_MAX:
            logger.error(
                "feed rows set aside",
                collection=self._name,
                rows=len(told),
                named=ROWS_TOLD_MAX,
                see="python -m workers verify",
            )
        for number, found in enumerate(told):
            telemetry.ROWS_SET_ASIDE.labels(self._name, found.reason).inc()
            if number >= ROWS_TOLD_MAX:
                continue
            logger.error(
                "feed row set aside",
                collection=self._name,
                reason=found.reason,
                **found.key._asdict(),
                id=found.image_id[:300].encode("utf-8", "backslashreplace").decode(),
                **({"request_id": found.request_id} if found.request_id else {}),
            )

    def _progress(self) -> dict[tuple[int, int], int]:
        return {key: progress.next_offset for key, progress in self._writer.fold.progress.items()}

    def _follow_logs(self) -> None:
        if self._clock() - self._logs_read < LOGS_INTERVAL_S:
            return
        logs = self._logs_of(self._settings.kafka_topic)
        if not self._writer.set_logs(logs):
            logger.warning(
                "starting a new index", collection=self._name, because="the gallery's logs changed", logs=logs
            )
            self._bases.close()  # it is of other logs
            self._writer = self._begin_anew()
            self._writer.set_logs(logs)
        for number, name in enumerate(logs):
            partitions = range(self._settings.kafka_partitions)
            for partition in {
                *partitions,
                *self._feed.partitions(name, fingerprint=self._fingerprint, listing_age_s=PARTITIONS_AGE_S),
            }:
                self._writer.fold.follow(number, partition)
        self._logs_read = self._clock()

    def _read(self, rows_max: int) -> dict[tuple[int, int], list[FeedRow]]:
        """Rows past the watermark of every partition, read side by side."""
        look_for_holes = self._clock() - self._holes_looked_for > HOLES_INTERVAL_S
        if look_for_holes:
            self._holes_looked_for = self._clock()
        next_offsets = self._progress()

        def read(key: tuple[int, int]) -> list[FeedRow]:
            number, partition = key
            start = RecordKey(self._writer.logs[number], partition, next_offsets[key])
            try:
                return self._feed.read(
                    start,
                    rows_max,
                    fingerprint=self._fingerprint,
                    past_holes=look_for_holes,
                    listing_age_s=LISTING_AGE_S,
                )
            except NewerVersionError as error:  # its partition waits there, the others go on
                if error.detail not in self._newer:
                    logger.error("partition stands still", collection=self._name, detail=error.detail)
                self._newer.add(error.detail)
                return []

        return dict(zip(next_offsets, self._pool.map(read, next_offsets), strict=True))
