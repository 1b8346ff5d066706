"""The indexer of one collection: follows its feed, folds it, publishes generations, has bases built."""

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from typing import NamedTuple

import structlog

from contract import telemetry
from contract.errors import IndexDamagedError, NewerVersionError
from contract.origin import requests_told
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.next_base import build_base
from gallery.generations.writer import Writer
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from workers.followed import follow_indexed

READ_ROWS_MAX = 2048
# Of the rows that one step sets aside, so many are named in the log.
ROWS_TOLD_MAX = 20
LOGS_INTERVAL_S = 1.0
# A hole wider than a feed bucket is found by listing all buckets: seldom needed, so seldom asked.
HOLES_INTERVAL_S = 5.0
# The list of buckets may be so old, so that all collections of a process share one; where it only tells partitions that were added,
# older, since it costs Cassandra some 20 ms, and more as the feed grows.
LISTING_AGE_S = 1.0
PARTITIONS_AGE_S = 4.0

# A tail of one part in five costs half a search more (docs/benchmarks.md); one part in a thousand costs nothing.
TAIL_SHARE_MAX = 5
TAIL_SHARE_OLD = 1000

logger = structlog.get_logger()


class _Build(NamedTuple):
    process: multiprocessing.process.BaseProcess
    base_name: str
    entries_merged: int
    began: float


class Indexer:
    """Reads each partition's feed past its watermark, publishes, and has bases built in the background.

    Args:
        settings: of the collection.
        name: of the collection.
        fingerprint: of the encoder whose feed is followed.
        logs_of: names of a topic's logs, the one seen first in front.
        pool: reads partitions side by side.
        may_build: whether a base may begin to be built now.
        clock: seconds that only go forward.
        wall_clock: seconds since 1970, for how long history is kept.

    Attributes:
        is_behind: the last step read as much of a partition as a step may, so there is more.
    """

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        writer: Writer,
        *,
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
        self._wall_clock = wall_clock
        self._writer = writer
        self._logs_of = logs_of
        self._pool = pool
        self._may_build = may_build
        self._logs_read = self._holes_looked_for = float("-inf")
        self._base_published = self._history_looked_at = self._clock()
        self._build: _Build | None = None
        self._newer: set[str] = set()
        self.is_behind = False

    @property
    def is_building(self) -> bool:
        """Whether a base is being built."""
        return self._build is not None

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
        """
        if not (self._settings.encoder_index_dir / "CURRENT").exists():
            raise FileNotFoundError(
                f"{self._settings.encoder_index_dir}/CURRENT was deleted: the feed is to be indexed anew."
            )
        self._follow_logs()
        began, began_ns = self._clock(), time.time_ns()
        before = self._progress()
        entries = []
        read = self._read(rows_max)
        self.is_behind = any(len(rows) >= rows_max for rows in read.values())
        for (number, partition), rows in read.items():
            found = self._writer.fold.add(number, partition, rows)
            entries += found
            # Partitions share ids, so what one brought must be seen by the next.
            self._writer.stage(found)
        advanced = before != self._progress()
        self._tell_of_set_aside()
        if advanced:
            manifest = self._writer.publish()
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
                **requests_told(row.origin for row in self._covered(read)),
            )
            follow_indexed(self._covered(read), manifest, collection=self._name, began_ns=began_ns)
        self._tend_base()
        return advanced

    def close(self) -> None:
        """End the base that is being built and release files."""
        if self._build:
            self._build.process.terminate()
            self._build.process.join()
        self._writer.close()

    def _covered(self, read: Mapping[tuple[int, int], list[FeedRow]]) -> Iterator[FeedRow]:
        """Of the rows that were read those that were folded; at a gap the others wait."""
        ends = self._progress()
        return (row for key, rows in read.items() for row in rows if row.key.offset < ends[key])

    def _tell_of_set_aside(self) -> None:
        told = self._writer.fold.unusable.tell()
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
            self._writer = Writer(
                self._settings.encoder_index_dir, self._fingerprint, self._writer.manifest.dimensions, rebuild=True
            )
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

    def _tend_base(self) -> None:
        """Begin a base when the tail is long or old; publish on it once it is built."""
        tail = self._writer.manifest.tail
        if self._build is None:
            is_old = self._clock() - self._base_published > self._settings.rebuild_interval_s
            # In proportion to the base, whose size a build costs: so an image is merged a few times, however many come.
            base_images = self._writer.manifest.base.count
            is_long = tail.entries >= max(self._settings.rebuild_tail_images, base_images // TAIL_SHARE_MAX)
            is_due = is_long or (
                is_old and (tail.entries > base_images // TAIL_SHARE_OLD or self._is_history_overdue())
            )
            if is_due and self._may_build():
                self._build = self._begin_build()
        elif not self._build.process.is_alive():
            build, self._build = self._build, None
            self._base_published = self._clock()
            if build.process.exitcode:
                logger.error(
                    "base not built", collection=self._name, exit_status=build.process.exitcode, base=build.base_name
                )
                return
            try:
                manifest = self._writer.replace_base(build.base_name, build.entries_merged)
            except IndexDamagedError as error:
                logger.error("base not taken", collection=self._name, detail=str(error), base=build.base_name)
                return
            telemetry.REBUILDS.labels(self._name).inc()
            logger.info(
                "base replaced",
                collection=self._name,
                generation=manifest.generation,
                base=manifest.base.count,
                tail=manifest.tail.entries,
                seconds=round(self._clock() - build.began, 2),
            )

    def _is_history_overdue(self) -> bool:
        """Whether something is kept twice as long as history is to be kept, since nothing else had a base built."""
        if self._clock() - self._history_looked_at < self._settings.rebuild_interval_s:
            return False
        self._history_looked_at = self._clock()
        oldest_ms = self._writer.oldest_history_ms()
        return oldest_ms is not None and oldest_ms <= self._horizon_ms(2)

    def _horizon_ms(self, times: int = 1) -> int:
        """The effective time up to which what was replaced is dropped, or that of so many `times` the hours."""
        return int((self._wall_clock() - times * self._settings.history_hours * 3600) * 1000)

    def _begin_build(self) -> _Build:
        manifest = self._writer.manifest
        base_name = self._writer.next_base_name()
        # Spawned: the lock's descriptor is not inherited, so a build never keeps a dead indexer's lock.
        process = multiprocessing.get_context("spawn").Process(
            target=build_base,
            kwargs={
                "index_dir": self._settings.encoder_index_dir,
                "generation_name": self._writer.current_name(),
                "base_name": base_name,
                "horizon_ms": self._horizon_ms(),
                "compiled_dir": self._settings.compiled_dir,
            },
            daemon=True,
        )
        process.start()
        return _Build(process, base_name, manifest.tail.entries, self._clock())
