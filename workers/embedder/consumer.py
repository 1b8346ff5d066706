"""The Kafka consumer that Faust uses, with what the embedder needs beside it.

Three things differ from Faust's own (docs/decisions/0012-what-of-faust-is-relied-on.md lists what that touches):

- It reads committed records only. Faust asks for that in its exactly-once mode alone, which brings transactions that
  Cassandra takes no part in. aiokafka looks at the isolation level when the consumer starts, so the one that Faust has
  made is told before that (`ImageConsumerThread._create_worker_consumer`).
- After an assignment it starts where the feed ends, not at the group's committed offset: the feed is the truth, and the
  committed offset only says where to look first. Faust seeks in one place, `seek_to_committed`, and takes its own
  bookkeeping from what that returns.
- What Faust takes for one message is a stretch of records that were fetched together: its cost for each message is
  several times that of embedding a small image. Each record says from which position it was reached, as only the thread
  that fetches can tell. How many bytes of each topic wait in memory is bounded, where Faust bounds the number of messages
  of all topics alone, and what is committed is how far the feed is complete.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Protocol

import structlog
from aiokafka.errors import IllegalStateError, KafkaError
from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from contract.errors import LookalikeError
from workers.embedder.fetching import ImageConsumerThread
from workers.embedder.records import LOG_APPEND_TIME, Stretch
from workers.embedder.sharing import Held

logger = structlog.get_logger()


class Assigned(Protocol):
    """Who is told what the group gives out, and says where reading starts. Called on the main event loop."""

    async def first_missing(self, committed: Mapping[TP, int]) -> Mapping[TP, int]:
        """The first offset that the feed lacks, of each partition whose collection is still embedded."""

    async def is_same(self, topic: str) -> bool:
        """Whether the topic is still the one whose feed was asked: not deleted, nor created again."""

    async def wait_while_taken(self, member: str) -> None:
        """Return once no other process has taken this one's name in the group, where it was `member` until now."""

    def on_revoked(self) -> None:
        """What the group gives out next is not known yet."""

    def on_assigned(self, partitions: Mapping[str, int], *, is_complete: bool) -> None:
        """So many partitions of these topics are read; with others, unless complete, there was no beginning."""


class StretchMessage(ConsumerMessage):
    """What Faust takes for one message. Its key and value are None: nobody reads them there, and they may be large."""

    def __init__(self, tp: TP, stretch: Stretch, generation_id: int) -> None:
        last = stretch.records[-1]
        time_s = last.kafka_time_ms / 1000
        super().__init__(
            *tp, last.offset, time_s, LOG_APPEND_TIME, None, None, None, None, tp=tp, generation_id=generation_id
        )
        self.stretch = stretch


class _NothingRead(dict[TP, int | None]):
    """Takes from Faust its account of what was read last: it drops what lies before that, also where a seek went back."""

    def __getitem__(self, tp: TP) -> None:
        return None


class ImageConsumer(Consumer):
    """See the module's docstring. All methods run on the main event loop."""

    transport: "ImageTransport"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seek_number = 0
        # How often the flow was stopped, and how often by the time of the last seek.
        self._stops, self._sought = 0, -1
        self._held = Held()
        self._done: dict[TP, int] = {}
        self._member = ""
        super().__init__(*args, **kwargs)
        self._read_offset = _NothingRead()

    async def acknowledge(self, stretches: Iterable[Stretch], stream: Any) -> None:
        """Take account of records whose feed rows are durable, and tell Faust's stream; makes room for more.

        Raises:
            RuntimeError: records between them and those before were never delivered; a restart reads them again.
        """
        events = []
        topics = set()
        for stretch in stretches:
            first, last = stretch.records[0], stretch.records[-1]
            weight_bytes = stretch.weight_bytes
            stretch.records.clear()  # Faust may hold on to the stretch for a while
            if stretch.event is not None:
                events.append(stretch.event)
            if stretch.seek != self.seek_number:
                continue  # The seek started where the feed ended then, and has had them fetched again if need be.
            self._held.remove(stretch.topic, weight_bytes)
            topics.add(stretch.topic)
            tp = TP(stretch.topic, last.partition)
            done = self._done.get(tp, first.after)
            if first.after > done:
                raise RuntimeError(f"Records {done} to {first.after} of {tp.topic}-{tp.partition} were not delivered.")
            self._done[tp] = max(done, last.offset + 1)
        self._image_thread.full_topics -= topics - self._held.full(topics)
        self._image_thread.resume()
        for event in events:
            await stream.ack(event)

    async def check_group(self) -> None:
        """As `ImageConsumerThread.check_group`."""
        await self._image_thread.check_group()

    def stop_flow(self) -> None:
        """Deliver nothing before the next seek is done."""
        self._stops += 1
        super().stop_flow()

    def resume_flow(self) -> None:
        """Deliver again, unless the flow was stopped during the seek that this is to follow.

        Faust resumes it all the same; then what the next seek fetches could come before Faust has cleared its queues behind that seek,
        and would be lost to this process.
        """
        if self._sought == self._stops:
            super().resume_flow()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Start each assigned partition at the first offset that the feed lacks."""
        stops = self._stops
        try:
            found = await self._seek_to_feed()
            self._sought = stops
            return found
        except (IllegalStateError, AssertionError) as error:  # aiokafka asserts that something is assigned
            # Partitions went elsewhere meanwhile. Nothing is read until those that are left, or come, are sought.
            logger.info("assigned again meanwhile", detail=repr(error))
            self._begin_anew({})
            self.transport.watcher.on_assigned({}, is_complete=False)
            return {}

    async def _seek_to_feed(self) -> Mapping[TP, int]:
        committed = {TP(*tp): offset or 0 for tp, offset in (await super().seek_to_committed()).items()}
        assigned = {TP(*tp) for tp in self.assignment()}
        watcher = self.transport.watcher
        missing = await watcher.first_missing({tp: committed.get(tp, 0) for tp in assigned})
        bounds = await self._bounds(missing)
        starts, reached = {}, {}
        for tp, (earliest, end) in bounds.items():
            if missing[tp] > end:
                if not await watcher.is_same(tp.topic):
                    continue  # It belongs to a collection that is dropped; if not, whoever checks topics says so.
                raise LookalikeError(
                    f"The feed of {tp.topic}-{tp.partition} reaches offset {missing[tp]}, but Kafka ends at {end}: "
                    "it lost records that it had confirmed, and would give their offsets to new ones. Publish to a new "
                    "topic; images of this one stay in the gallery."
                )
            starts[tp], reached[tp] = max(missing[tp], earliest), missing[tp]
        self._begin_anew(reached)
        watcher.on_assigned(Counter(tp.topic for tp in starts), is_complete=len(starts) == len(assigned))
        await self._image_thread.seek_wait(starts)
        for topic in sorted({tp.topic for tp in starts}):
            logger.info("assigned", topic=topic, committed=_of(topic, committed), starts=_of(topic, starts))
        return reached

    def _begin_anew(self, reached: Mapping[TP, int]) -> None:
        """Take no account any more of what was fetched before the seek that follows."""
        self.seek_number += 1
        self._held.clear()
        self._done = dict(reached)
        self._image_thread.full_topics = set()
        self._image_thread.reached_after_seek = {tp: (offset, self.seek_number) for tp, offset in reached.items()}

    async def _bounds(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        """Where they begin and end in Kafka; without those of topics that are there no more."""
        by_topic: dict[str, list[TP]] = {}
        for tp in partitions:
            by_topic.setdefault(tp.topic, []).append(tp)
        if not by_topic:
            return {}
        thread = self._image_thread
        try:
            return await thread.bounds([tp for tps in by_topic.values() for tp in tps])
        except (KafkaError, TimeoutError):
            # Asked in vain for one that was deleted, the others would wait behind it.
            is_there = await asyncio.gather(*map(self.transport.watcher.is_same, by_topic))
            by_topic = {topic: tps for (topic, tps), there in zip(by_topic.items(), is_there, strict=True) if there}
            found = await asyncio.gather(*map(thread.bounds, by_topic.values()), return_exceptions=True)
        bounds: dict[TP, tuple[int, int]] = {}
        for topic, answer in zip(by_topic, found, strict=True):
            if isinstance(answer, KafkaError | TimeoutError):
                logger.warning("a topic is not read for now", topic=topic, detail=repr(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                bounds |= answer
        return bounds

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Not ready until what the group gives out next is known.

        From here on Faust drops stretches without a word, wherever they are, until it resumes the flow behind the seek; that seek has
        all fetched again that the feed lacks. Faust itself stops the flow only if something is assigned, and while the topics that
        it subscribes to change nothing is: what came between that seek and the flow would be dropped too.
        """
        self.stop_flow()
        self._begin_anew({})
        self.transport.watcher.on_revoked()
        if self._member and not self._image_thread.member:
            # Kafka knows this member no more: it was silent for too long, or another process has taken its name. Nothing is joined
            # before this returns.
            await self.transport.watcher.wait_while_taken(self._member)
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Without partitions nothing is sought: more embedders than partitions run, and this one is ready to step in."""
        self._member = self._image_thread.member
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            self.transport.watcher.on_assigned({}, is_complete=True)

    async def getmany(self, timeout: float) -> AsyncIterator[Any]:
        """Deliver what was fetched since the last seek, in turn for each topic, and take account of what it holds in memory.

        Faust's own would leave out what it holds for fetched at a wrong time, or seek by itself beside the seek that follows.
        """
        fetched, _ = await self._wait_next_records(timeout)
        for tp, stretch in self.scheduler.iterate(fetched or {}):
            while not self.flow_active and not self.should_stop:  # until the seek after an assignment is done
                await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # anything that can be waited for will do
            if self.should_stop:
                return
            if stretch.seek == self.seek_number:  # That seek has what was fetched before it fetched again.
                self._held.add(tp.topic, stretch.weight_bytes)
                yield tp, self._to_message(tp, stretch)

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:
        # All that was fetched is taken over, or aiokafka would hold what waits for it before others' records. Topics that have
        # their share in memory are not fetched from: `ImageConsumerThread` pauses them.
        assigned = self.assignment()
        self._image_thread.full_topics = self._held.full({topic for topic, _ in assigned})
        return await super()._getmany(active_partitions and {TP(*tp) for tp in assigned}, timeout)

    @property
    def _image_thread(self) -> "ImageConsumerThread":
        thread = self._thread
        assert isinstance(thread, ImageConsumerThread)
        return thread

    def _to_message(self, tp: TP, record: Any) -> StretchMessage:
        return StretchMessage(tp, record, self.app.consumer_generation_id)

    def _new_offset(self, tp: TP) -> int | None:
        """What to commit. Faust would count acknowledged offsets one by one."""
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return self._done.get(TP(*tp))

    def _new_consumer_thread(self) -> "ImageConsumerThread":
        return ImageConsumerThread(self, loop=self.loop, beacon=self.beacon)


class ImageTransport(Transport):
    """Makes Faust use `ImageConsumer`; `watcher` is set before the app starts."""

    Consumer = ImageConsumer
    watcher: Assigned


def _of(topic: str, offsets: Mapping[TP, int]) -> dict[str, int]:
    return {str(tp.partition): offset for tp, offset in sorted(offsets.items()) if tp.topic == topic}
