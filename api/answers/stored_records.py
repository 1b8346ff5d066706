"""What Cassandra knows of the records that brought images: read in one go, cached for ever, done without while it is away."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import anyio
import anyio.to_thread
import structlog

from contract.collections import Collection
from contract.errors import ConfigurationError, DependencyError
from contract.record_key import RecordKey
from contract.telemetry import DEPENDENCY_RETRIES, DEPENDENCY_UP
from gallery.store.distinct import DistinctSet
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.store import Store

# What Python needs for a record beside its thumbnail and texts.
RECORD_OVERHEAD_BYTES = 1200
CONCURRENT_READS = 8
LOOKUP_TIMEOUT_S = 1.0
ORIGINAL_TIMEOUT_S = 10.0
# After a failure nothing is asked for so long, so that one search a second waits for a store that hangs, not each.
PAUSE_S = 1.0
CONNECT_INTERVAL_S = 1.0

logger = structlog.get_logger()
T = TypeVar("T")


class StoredRecords:
    """Rows by the Kafka record that brought them; they never change, so the cache never goes stale.

    Args:
        connect: to the store; called again as long as it raises DependencyError.
        cache_mib: so much memory keeps the records that were read last.
    """

    def __init__(self, connect: Callable[[], Store], cache_mib: int) -> None:
        self._open = connect
        self._store: Store | None = None
        self._failure = "not connected yet."
        self._paused_until_s = 0.0
        self._stopped = threading.Event()
        self._limiter = anyio.CapacityLimiter(CONCURRENT_READS)
        self._cache = _RecordCache(cache_mib * 1024 * 1024)

    @property
    def is_up(self) -> bool:
        """Whether the last call to Cassandra worked."""
        return not self._failure

    def start(self) -> None:
        """Connect in the background, for as long as it takes."""
        threading.Thread(target=self._connect, name="cassandra-connect", daemon=True).start()

    async def stop(self) -> None:
        """Close the connection."""
        self._stopped.set()
        if self._store is not None:
            await anyio.to_thread.run_sync(self._store.close)

    async def records(self, keys: Sequence[RecordKey]) -> tuple[dict[RecordKey, ImageRecord], bool]:
        """What is known of these records, and whether nothing is missing."""
        found = {key: record for key in keys if (record := self._cache.get(key)) is not None}
        missing = [key for key in keys if key not in found]
        if missing:
            try:
                read = await self._call(lambda store: store.records.read(missing), LOOKUP_TIMEOUT_S)
            except DependencyError:
                return found, False
            for key, record in read.items():
                self._cache.put(key, record)
            found |= read
        return found, all(key in found for key in keys)

    async def record(self, key: RecordKey) -> ImageRecord | None:
        """What is known of one record; None when the store has no row.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        if (cached := self._cache.get(key)) is not None:
            return cached
        read = await self._call(lambda store: store.records.read([key]), LOOKUP_TIMEOUT_S)
        for record in read.values():
            self._cache.put(key, record)
        return read.get(key)

    async def original(self, key: RecordKey) -> bytes | None:
        """The bytes as they were published; None when the store has no row.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._call(lambda store: store.records.read_original(key), ORIGINAL_TIMEOUT_S)

    async def feed_row(self, key: RecordKey, encoder: str) -> FeedRow | None:
        """What became of a Kafka record; None while the embedder has not come to it.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        rows = await self.feed_rows(key, 1, encoder)
        return next((row for row in rows if row.key == key), None)

    async def feed_rows(self, start: RecordKey, limit: int, encoder: str) -> list[FeedRow]:
        """What became of the records at a place and behind it, as `Feed.read` has it.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._call(lambda store: store.feed.read(start, limit, fingerprint=encoder), LOOKUP_TIMEOUT_S)

    async def image_rows(self, image_id: str, topic: str, encoder: str) -> tuple[list[list[FeedRow]], bool] | None:
        """Rows of the records of an id, log by log, the oldest in front, and whether these are all; None when they cannot be read now.

        Raises:
            DependencyError: Cassandra did not answer in time.
        """

        def read(store: Store) -> tuple[list[list[FeedRow]], bool] | None:
            try:
                found = [store.feed.of_image(image_id, log, fingerprint=encoder) for log in store.feed.logs(topic)]
            except DependencyError:
                return None  # while the index over ids is being made; all else goes on, so nothing is paused
            return [rows for rows, _ in found], all(is_all for _, is_all in found)

        return await self._call(read, LOOKUP_TIMEOUT_S)

    async def feed_goes_on(self, log: str, encoder: str, offsets: Mapping[int, int]) -> bool:
        """Whether the feed of one of these partitions has a row that follows on its offset.

        Raises:
            DependencyError: Cassandra did not answer.
        """

        def ask(store: Store) -> bool:
            rows = (
                store.feed.read(RecordKey(log, partition, offset), 1, fingerprint=encoder)
                for partition, offset in offsets.items()
            )
            return any(row.after <= offsets[row.key.partition] for found in rows for row in found)

        return await self._call(ask, LOOKUP_TIMEOUT_S)

    async def collections(self) -> dict[str, Collection]:
        """All collections by name, also those that are being dropped.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._call(lambda store: store.registry.collections(), LOOKUP_TIMEOUT_S)

    def store(self) -> Store:
        """The store itself, for what takes longer than a look.

        Raises:
            DependencyError: it was not reached yet.
        """
        if self._store is None:
            raise DependencyError("cassandra", self._failure)
        return self._store

    async def distinct_sets(self, topic: str) -> list[DistinctSet]:
        """What people said are no duplicates.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._call(lambda store: store.distinct.sets(topic), LOOKUP_TIMEOUT_S)

    async def remember_distinct(self, topic: str, images: Sequence[tuple[str, RecordKey]]) -> DistinctSet:
        """Remember that no two of these images are duplicates.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        return await self._call(lambda store: store.distinct.remember(topic, images), LOOKUP_TIMEOUT_S)

    async def forget_distinct(self, topic: str, name: str) -> None:
        """Forget such a set.

        Raises:
            DependencyError: Cassandra did not answer.
        """
        await self._call(lambda store: store.distinct.forget(topic, name), LOOKUP_TIMEOUT_S)

    async def ask(self, question: Callable[[Store], T], timeout_s: float = LOOKUP_TIMEOUT_S) -> T:
        """What the store answers to a question, or does.

        Raises:
            DependencyError: Cassandra did not answer in time; what it was to do may still happen.
        """
        return await self._call(question, timeout_s)

    async def _call(self, read: Callable[[Store], T], timeout_s: float) -> T:
        store = self._store
        if store is None or anyio.current_time() < self._paused_until_s:
            raise DependencyError("cassandra", self._failure)
        try:
            with anyio.fail_after(timeout_s):
                result = await anyio.to_thread.run_sync(read, store, limiter=self._limiter, abandon_on_cancel=True)
        except (DependencyError, TimeoutError) as error:
            self._failure = error.detail if isinstance(error, DependencyError) else f"no answer within {timeout_s} s."
            self._paused_until_s = anyio.current_time() + PAUSE_S
            DEPENDENCY_RETRIES.labels("cassandra").inc()
            DEPENDENCY_UP.labels("cassandra").set(0)
            raise DependencyError("cassandra", self._failure) from error
        self._failure = ""
        DEPENDENCY_UP.labels("cassandra").set(1)
        return result

    def _connect(self) -> None:
        while not self._stopped.is_set():
            try:
                store = self._open()
            except (
                DependencyError,
                ConfigurationError,
            ) as error:  # the latter where this program is too old for the schema
                detail = error.detail if isinstance(error, DependencyError) else str(error)
                if self._failure != detail:
                    logger.warning("cassandra cannot be used", detail=detail)
                self._failure = detail
                DEPENDENCY_RETRIES.labels("cassandra").inc()
                DEPENDENCY_UP.labels("cassandra").set(0)
                self._stopped.wait(CONNECT_INTERVAL_S)
                continue
            self._failure = ""
            self._store = store
            DEPENDENCY_UP.labels("cassandra").set(1)
            return


class _RecordCache:
    """The records used last, bounded in bytes. Used on the event loop only."""

    def __init__(self, size_bytes_max: int) -> None:
        self._size_bytes_max = size_bytes_max
        self._records: OrderedDict[RecordKey, ImageRecord] = OrderedDict()
        self._size_bytes = 0

    def get(self, key: RecordKey) -> ImageRecord | None:
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def put(self, key: RecordKey, record: ImageRecord) -> None:
        if key in self._records:
            return
        self._records[key] = record
        self._size_bytes += _size_bytes(record)
        while self._size_bytes > self._size_bytes_max:
            self._size_bytes -= _size_bytes(self._records.popitem(last=False)[1])


def _size_bytes(record: ImageRecord) -> int:
    return RECORD_OVERHEAD_BYTES + len(record.thumbnail) + len(record.metadata)
