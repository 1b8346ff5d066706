"""The thread that fetches: it knows from which position each record was reached, and leaves out topics that have their share."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, ensure_aiokafka_TP
from faust.types import TP

from contract.errors import DependencyError
from workers.embedder.header_names import read_any_header_name
from workers.embedder.records import Record, reached_from, stretches
from workers.embedder.sharing import HELD_BYTES_MAX
from workers.embedder.silence import give_up_silent

# Of one partition in an answer of Kafka, which gives a single larger record anyway: no more is asked for while an answer is not
# taken over, so others' records would wait behind many of a busy collection.
PARTITION_SIZE_BYTES_MAX = 128 * 1024
# Of all partitions in one answer; Faust leaves it at 50 MiB.
FETCH_SIZE_BYTES_MAX = 8 * 1024 * 1024
# aiokafka asks for more this long after an answer that it could not hand on yet: 0.1 s would have every partition's next answer wait
# in memory while a large picture is decoded. What is handed on wakes it at once.
PREFETCH_BACKOFF_S = 60.0
# How long a fetch waits for records before it is seen that the position stepped over what is none.
FETCH_WAIT_S_MAX = 0.25
# How long Kafka may take to say where partitions begin and end.
OFFSETS_S_MAX = 3.0

logger = structlog.get_logger()


class ImageConsumerThread(AIOKafkaConsumerThread):
    """Runs aiokafka's consumer on a thread and an event loop of its own.

    Attributes:
        reached_after_seek: from where each partition is read once the next seek is done, and that seek's number.
        full_topics: those that hold their share of memory, and are not fetched from.
    """

    reached_after_seek: Mapping[TP, tuple[int, int]]
    full_topics: set[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reached_after_seek = {}
        self.full_topics = set()
        self._reached: dict[TP, tuple[int, int]] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_bytes = FETCH_SIZE_BYTES_MAX
        give_up_silent(consumer._client)
        return consumer

    async def bounds(self, partitions: list[TP]) -> dict[TP, tuple[int, int]]:
        """Where partitions begin and end in Kafka.

        Raises:
            KafkaError, TimeoutError: Kafka does not say in time: a topic may be there no more.
        """
        found: dict[TP, tuple[int, int]] = await self.call_thread(self._bounds, self._ensure_consumer(), partitions)
        return found

    async def _bounds(self, consumer: Any, partitions: list[TP]) -> dict[TP, tuple[int, int]]:
        # Ended here: aiokafka would go on asking for a topic that was deleted, and what else this thread is to do would wait.
        known = [ensure_aiokafka_TP(tp) for tp in partitions]
        asking = asyncio.gather(consumer.beginning_offsets(known), consumer.end_offsets(known))
        earliest, ends = await asyncio.wait_for(asking, OFFSETS_S_MAX)
        return {tp: (earliest[each], ends[each]) for tp, each in zip(partitions, known, strict=True)}

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        # Before the first await below this, so that no fetch comes between the note and the seek.
        self._reached = dict(self.reached_after_seek)
        consumer._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        wait_s = FETCH_WAIT_S_MAX if timeout is None else min(timeout, FETCH_WAIT_S_MAX)
        self._pause_full(consumer)
        try:
            fetched = await super()._fetch_records(consumer, active_partitions, wait_s, max_records)
        except UnicodeDecodeError as error:
            logger.warning("a header's name is not UTF-8; reading on more slowly", detail=str(error))
            read_any_header_name()
            # Partitions may have moved on whose records came with the failure.
            for tp, (position, _) in self._reached.items():
                consumer.seek(tp, position)
            return {}
        # Before aiokafka asks for what comes behind an answer that is a topic's whole share by itself: of large pictures the next
        # one would wait in memory while this one is decoded. What is held says later how long.
        self.full_topics.update(_filled(fetched))
        self._pause_full(consumer)
        # aiokafka hands out records from its position on, without an await behind it: these notes cannot be overtaken.
        batches: dict[TP, list[Record]] = {}
        seeks: dict[TP, int] = {}
        for tp, records in fetched.items():
            if tp not in self._reached:
                continue  # Fetched before the first seek.
            after, seeks[tp] = self._reached[tp]
            if batch := reached_from(after, records):
                batches[tp] = batch
                self._reached[tp] = batch[-1].offset + 1, seeks[tp]
        for tp in self._reached.keys() - fetched.keys():
            after, seek = self._reached[tp]
            if (gap := _gap(consumer, tp, after)) is not None:
                batches[tp], seeks[tp] = [gap], seek
                self._reached[tp] = gap.offset + 1, seek
        holes = [tp for tp, batch in batches.items() if batch[0].after < batch[0].offset or batch[0].is_gap]
        if holes:
            # A hole is a transaction's marker or what compaction left, unless the log begins behind the hole's start:
            # then aiokafka may have been sent there because Kafka had expired what it asked for.
            begins = await consumer.beginning_offsets(holes)
            for tp in holes:
                first = batches[tp][0]
                batches[tp][0] = first._replace(is_expired=begins[tp] > first.after)
        return {tp: list(stretches(batch, tp.topic, seeks[tp])) for tp, batch in batches.items()}

    @property
    def member(self) -> str:
        """Kafka's id of the group's member that this is; "" before it has joined, and after the group has lost it."""
        coordinator = self._consumer and self._consumer._coordinator
        return coordinator.member_id if coordinator else ""

    async def check_group(self) -> None:
        """Join the group again after an error, with which aiokafka waits until somebody has seen it; Faust never looks.

        Raises:
            DependencyError: with that error, such as that the group is not granted.
        """
        if self._consumer is not None and self.thread_loop.is_running():
            # Not in the queue of `call_thread`, where what waits for the group would be before it.
            checking = asyncio.run_coroutine_threadsafe(self._check_group(self._consumer), self.thread_loop)
            await asyncio.wrap_future(checking)

    async def _check_group(self, consumer: Any) -> None:
        coordinator = consumer._coordinator
        if coordinator is None:
            return  # The consumer is still starting.
        try:
            coordinator.check_errors()
        except KafkaError as error:
            coordinator.request_rejoin()
            raise DependencyError("kafka", f"the consumer group refuses: {error!r}") from error

    def resume(self) -> None:
        """Fetch from what is no longer full, also while a fetch of others waits. Called on the main event loop."""
        if self._consumer is not None and self.thread_loop.is_running():
            self.thread_loop.call_soon_threadsafe(self._pause_full, self._consumer)

    def _pause_full(self, consumer: Any) -> None:
        assigned, paused, full = consumer.assignment(), consumer.paused(), self.full_topics
        wanted = {tp for tp in assigned if tp.topic in full}
        consumer.pause(*(wanted - paused))
        consumer.resume(*(paused - wanted))

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        # A commit only shortens the next start, so a Kafka that is away must not end the process, as it would in Faust.
        committed = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        # Faust complains of partitions that are not in here after five minutes.
        self.tp_last_committed_at.update(dict.fromkeys(committed, time.monotonic()))
        if not committed:
            return True
        try:
            # Faust's own type of partition, which a gap's message carries, is none to aiokafka.
            await self._ensure_consumer().commit({ensure_aiokafka_TP(tp): offset for tp, offset in committed.items()})
        except KafkaError as error:
            logger.warning("commit failed", detail=str(error))
            return False
        return True


def _filled(fetched: Mapping[TP, list[Any]]) -> set[str]:
    """Topics of which as much was fetched at once as one may hold."""
    sizes_bytes: Counter[str] = Counter()
    for tp, records in fetched.items():
        sizes_bytes[tp.topic] += sum(len(record.value or b"") for record in records)
    return {topic for topic, size_bytes in sizes_bytes.items() if size_bytes > HELD_BYTES_MAX}


def _gap(consumer: Any, tp: TP, after: int) -> Record | None:
    """What stands for [after, position) where the consumer's position went on without a record.

    The position moves only over what was read, and never beyond the last stable offset: a record of an open transaction, or
    one that is still to come, lies at or behind it.
    """
    subscription = consumer._fetcher._subscriptions.subscription
    state = subscription.assignment and subscription.assignment.state_value(tp) if subscription else None
    if state is None or not state.has_valid_position or state.position <= after:
        return None
    offset = state.position - 1
    return Record(tp.partition, offset, after, kafka_time_ms=0, key=None, value=None, is_gap=True)
