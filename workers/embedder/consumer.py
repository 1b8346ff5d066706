"""The Kafka consumer that Faust uses, with what the embedder needs beside it.

Three things differ from Faust's own (docs/decisions/0012-what-of-faust-is-relied-on.md lists what that touches):

- It reads committed records only. Faust asks for that in its exactly-once mode alone, which brings transactions that
  Cassandra takes no part in. aiokafka looks at the isolation level when the consumer starts, so the one that Faust has
  made is told before that (`_ImageConsumerThread._create_worker_consumer`).
- After an assignment it starts where the feed ends, not at the group's committed offset: the feed is the truth, and the
  committed offset only says where to look first. Faust seeks in one place, `seek_to_committed`, and takes its own
  bookkeeping from what that returns.
- What Faust takes for one message is a stretch of records that were fetched together: its cost for each message is
  several times that of embedding a small image. Each record says from which position it was reached, as only the thread
  that fetches can tell. How many bytes wait in memory is bounded, where Faust bounds the number of messages alone, and
  what is committed is how far the feed is complete.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport, ensure_aiokafka_TP
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from contract import telemetry
from contract.errors import LookalikeError
from runtime.readiness import READINESS
from workers.embedder.header_names import read_any_header_name
from workers.embedder.records import LOG_APPEND_TIME, Record, Stretch, reached_from, stretches

HELD_BYTES_MAX = 16 * 1024 * 1024
# Of all partitions in one answer of Kafka, which gives a single larger record anyway; Faust leaves it at 50 MiB.
FETCH_SIZE_BYTES_MAX = 8 * 1024 * 1024
# aiokafka asks for more this long after an answer that it could not hand on yet: 0.1 s would have every partition's next answer wait
# in memory while a large picture is decoded. What is handed on wakes it at once.
PREFETCH_BACKOFF_S = 60.0
# How long a fetch waits for records before it is seen that the position stepped over what is none.
FETCH_WAIT_S_MAX = 0.25

logger = structlog.get_logger()

# From {partition: committed offset} to {partition: first offset that the feed lacks}.
FirstMissing = Callable[[Mapping[int, int]], Awaitable[dict[int, int]]]


class StretchMessage(ConsumerMessage):
    """What Faust takes for one message. Its key and value are None: nobody reads them there, and they may be large."""

    def __init__(self, tp: TP, stretch: Stretch, generation_id: int) -> None:
        last = stretch.records[-1]
        time_s = last.kafka_time_ms / 1000
        super().__init__(
            *tp, last.offset, time_s, LOG_APPEND_TIME, None, None, None, None, tp=tp, generation_id=generation_id
        )
        self.stretch = stretch


class ImageConsumer(Consumer):
    """See the module's docstring. All methods run on the main event loop."""

    transport: "ImageTransport"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._seek_number = 0
        self._held_bytes = 0
        self._has_room = asyncio.Event()
        self._done: dict[int, int] = {}
        super().__init__(*args, **kwargs)

    async def acknowledge(self, stretches: Iterable[Stretch], stream: Any) -> None:
        """Take account of records whose feed rows are durable, and tell Faust's stream; makes room for more.

        Raises:
            RuntimeError: records between them and those before were never delivered; a restart reads them again.
        """
        events = []
        for records, seek, size_bytes, event in stretches:
            first, last = records[0], records[-1]
            records.clear()  # Faust may hold on to the stretch for a while
            if event is not None:
                events.append(event)
            if seek != self._seek_number:
                continue  # The seek started where the feed ended then, and has had them fetched again if need be.
            self._held_bytes -= size_bytes
            done = self._done.get(last.partition, first.after)
            if first.after > done:
                raise RuntimeError(f"Records {done} to {first.after} of partition {last.partition} were not delivered.")
            self._done[last.partition] = max(done, last.offset + 1)
        self._has_room.set()
        for event in events:
            await stream.ack(event)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Start each assigned partition at the first offset that the feed lacks."""
        committed = {tp.partition: offset or 0 for tp, offset in (await super().seek_to_committed()).items()}
        places = {TP(topic, partition): partition for topic, partition in self.assignment()}
        missing = await self.transport.first_missing(committed)
        earliest, ends = await self.earliest_offsets(*places), await self.highwaters(*places)
        starts = {}
        for tp, partition in places.items():
            if missing[partition] > ends[tp]:
                raise LookalikeError(
                    f"The feed of {tp.topic}-{partition} reaches offset {missing[partition]}, but Kafka ends at {ends[tp]}: "
                    "it lost records that it had confirmed, and would give their offsets to new ones. Publish to a new "
                    "topic; images of this one stay in the gallery."
                )
            starts[tp] = max(missing[partition], earliest[tp])
        self._seek_number += 1
        self._held_bytes = 0
        self._done = missing
        thread = self._thread
        assert isinstance(thread, _ImageConsumerThread)
        thread.reached_after_seek = {tp: (missing[tp.partition], self._seek_number) for tp in starts}
        await thread.seek_wait(starts)
        telemetry.PARTITIONS.set(len(starts))
        READINESS.note("partitions", is_good=True)
        logger.info(
            "assigned",
            committed={str(partition): committed[partition] for partition in sorted(committed)},
            starts={str(tp.partition): start for tp, start in sorted(starts.items())},
        )
        # Faust drops what lies before these: a gap in front of `starts` does.
        return {tp: missing[partition] for tp, partition in places.items()}

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Not ready until what the group gives out next is known."""
        READINESS.note("partitions", is_good=False)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Without partitions nothing is sought: more embedders than partitions run, and this one is ready to step in."""
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            telemetry.PARTITIONS.set(0)
            READINESS.note("partitions", is_good=True)

    async def getmany(self, timeout: float) -> AsyncIterator[Any]:
        """Deliver messages while fewer than 16 MiB of them are not acknowledged."""
        message: Any
        async for tp, message in super().getmany(timeout):
            self._held_bytes += message.stretch.size_bytes
            yield tp, message
            while self._held_bytes > HELD_BYTES_MAX and self.flow_active and not self.should_stop:
                self._has_room.clear()
                await self.wait_first(self._has_room.wait(), self.suspend_flow.wait())

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        # What was fetched before a seek may arrive after it; that seek has the same records fetched again.
        fetched = await super()._getmany(active_partitions, timeout)
        return {tp: batch for tp, batch in fetched.items() if batch[0].seek == self._seek_number}

    def _to_message(self, tp: TP, record: Any) -> StretchMessage:
        return StretchMessage(tp, record, self.app.consumer_generation_id)

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit. Faust would count acknowledged offsets one by one."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._done.get(tp.partition)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no account of offsets without a message, for the same reason."""

    def _new_consumer_thread(self) -> "_ImageConsumerThread":
        return _ImageConsumerThread(self, loop=self.loop, beacon=self.beacon)


class ImageTransport(Transport):
    """Makes Faust use `ImageConsumer`; `first_missing` is set before the app starts."""

    Consumer = ImageConsumer
    first_missing: FirstMissing


class _ImageConsumerThread(AIOKafkaConsumerThread):
    """Runs aiokafka's consumer on a thread and an event loop of its own."""

    reached_after_seek: Mapping[TP, tuple[int, int]]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reached_after_seek = {}
        self._reached: dict[TP, tuple[int, int]] = {}

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_bytes = FETCH_SIZE_BYTES_MAX
        return consumer

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        # Before the first await below this, so that no fetch comes between the note and the seek.
        self._reached = dict(self.reached_after_seek)
        consumer._fetcher._prefetch_backoff = PREFETCH_BACKOFF_S
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        wait_s = FETCH_WAIT_S_MAX if timeout is None else min(timeout, FETCH_WAIT_S_MAX)
        try:
            fetched = await super()._fetch_records(consumer, active_partitions, wait_s, max_records)
        except UnicodeDecodeError as error:
            logger.warning("a header's name is not UTF-8; reading on more slowly", detail=str(error))
            read_any_header_name()
            # Partitions may have moved on whose records came with the failure.
            for tp, (position, _) in self._reached.items():
                consumer.seek(tp, position)
            return {}
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
        return {tp: list(stretches(batch, seeks[tp])) for tp, batch in batches.items()}

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
