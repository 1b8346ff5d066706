"""Reads the topics of all collections of one encoder through a Faust app, as one member of that encoder's consumer group.

Faust brings the consumer group; `consumer` says where reading starts and what Faust takes for one message.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from mode.supervisors import CrashingSupervisor

from contract import telemetry
from contract.errors import DependencyError, TopicReplacedError
from contract.settings import Settings
from runtime.retrying import StoppedError
from workers.embedder.assignor import SpreadingAssignor
from workers.embedder.consumer import ImageConsumer
from workers.embedder.faust_app import ImageApp, PatientRecovery, faust_credentials
from workers.embedder.fetching import PARTITION_SIZE_BYTES_MAX
from workers.embedder.members import Instance, forget_former_selves, wait_while_taken
from workers.embedder.records import Stretch
from workers.embedder.served import Served

STOP_S_MAX = 5.0
# A killed worker's partitions are free after this long, unless it comes back under the same instance id before.
SESSION_TIMEOUT_S = 10.0
# Until a connection of which the broker knows nothing any more is given up: Faust's own 90 s are how long nothing would be embedded.
# The largest record comes within it where the broker is reached with 10 Mbit/s.
ANSWER_TIMEOUT_S = 30.0
# How long Cassandra may take to say where an assignment's partitions start, before this process ends for it.
ASSIGNMENT_S_MAX = 60.0
METADATA_AGE_MS_MAX = 3000
# Never reached: what waits is handed on at once, and bounded by bytes. Faust would hold up all topics for one.
FETCHED_STRETCHES_MAX = 4096

logger = structlog.get_logger()


class GroupReader:
    """Fetches the records of the collections that it is told of, in order, and acknowledges them.

    Args:
        fingerprint: of the encoder, which names the consumer group.
        slot: number of this embedder among those that run on this machine.
        came: called with each stretch of records of a collection, on the event loop.
        asking: for questions about where to start.
        on_change: called when partitions were given or taken.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        fingerprint: str,
        slot: int,
        came: Callable[[Served, Stretch], None],
        asking: Executor,
        on_change: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._group = f"lookalike-{settings.cassandra_keyspace}-{fingerprint}"
        self._slot = slot
        self._came = came
        self._asking = asking
        self._on_change = on_change
        # By topic: those to read; those that the group was asked for; those that the last assignment began to read. A topic that was
        # dropped and created again has the same name, so only the third says that records are of this log.
        self._served: dict[str, Served] = {}
        self._subscribed: dict[str, Served] = {}
        self._begun: dict[str, Served] = {}
        self._beginning: dict[str, Served] = {}
        self._app: Any = None
        self._stream: Any = None
        self._is_assigned = False
        # Where the group gave out partitions of a topic that was not there at that moment: it is asked again.
        self._is_complete = True

    @property
    def is_good(self) -> bool:
        """Whether all partitions that the group gives this embedder are read."""
        return self._is_assigned and self._is_complete

    async def run(self, served: Iterable[Served]) -> None:
        """Read these collections until something breaks, and raise that.

        Raises:
            DependencyError, LookalikeError: what ended it.
        """
        self._served = {one.topic: one for one in served}
        self._subscribed = dict(self._served)
        app = self._app = await self._new_app()
        starting = asyncio.create_task(app.start())
        crashed = asyncio.create_task(app._crashed.wait())
        try:
            waiting = {starting, crashed}
            while crashed in waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            reason = app.crash_reason
            raise DependencyError("kafka", f"reading failed: {reason!r}") if isinstance(reason, KafkaError) else reason
        finally:
            crashed.cancel()
            starting.cancel()

    async def serve(self, served: Iterable[Served]) -> None:
        """From now on read these collections; the others' records are let go of."""
        self._served = {one.topic: one for one in served}
        if not self._is_assigned or self._app.rebalancing:
            return  # A subscription is under way, or what was assigned is sought; this is called again.
        if self._subscribed == self._served and self._is_complete:
            return
        # Faust keeps what it has heard of: records of a collection that was let go of may still come until the group agrees.
        for channel in self._app.topics:
            channel.topics = sorted({*channel.topics, *self._served})
        self._subscribed = dict(self._served)
        self._is_assigned, self._is_complete = False, True
        await self._app.topics._update_indices()
        await self._app.consumer.subscribe(set(self._subscribed))

    async def check(self) -> None:
        """See that the group is followed.

        Raises:
            DependencyError: it is not for now; it is joined again.
        """
        if self._app is not None:
            consumer: ImageConsumer = self._app.consumer
            await consumer.check_group()

    async def acknowledge(self, stretches: list[Stretch]) -> None:
        """Take account of records whose feed rows are durable."""
        consumer: ImageConsumer = self._app.consumer
        await consumer.acknowledge(stretches, self._stream)

    async def stop(self) -> None:
        """Stop reading; what is not acknowledged is read again by the next."""
        if self._app is None:
            return
        try:
            await asyncio.wait_for(self._app.stop(), STOP_S_MAX)
        except Exception as error:  # noqa: BLE001 - nothing is lost by it
            logger.warning("stopped without order", detail=repr(error))

    async def first_missing(self, committed: Mapping[TP, int]) -> Mapping[TP, int]:
        """The first offset that the feed lacks, of each partition whose collection is still embedded."""
        self._beginning = dict(self._served)
        places = {tp: served for tp in committed if (served := self._beginning.get(tp.topic))}
        loop = asyncio.get_running_loop()
        answers = asyncio.gather(
            *(
                loop.run_in_executor(self._asking, served.embedder.first_missing, tp.partition, committed[tp])
                for tp, served in places.items()
            ),
            return_exceptions=True,
        )
        try:
            found = await asyncio.wait_for(answers, ASSIGNMENT_S_MAX)
        except TimeoutError as error:
            # Outside of the group the next process can wait for ever without holding partitions.
            raise DependencyError("cassandra", f"no answer for {ASSIGNMENT_S_MAX} s about where to start") from error
        missing: dict[TP, int] = {}
        for (tp, served), answer in zip(places.items(), found, strict=True):
            if isinstance(answer, int):
                missing[tp] = answer
            elif not (isinstance(answer, StoppedError) and served.stop.is_set()):
                raise answer
        return missing

    async def is_same(self, topic: str) -> bool:
        """Whether the topic is still the one whose feed was asked: not deleted, nor created again."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._asking, self._beginning[topic].embedder.check_topic)
        except (TopicReplacedError, DependencyError):
            return False
        return True

    async def wait_while_taken(self, member: str) -> None:
        """Return once no other process has taken this one's name in the group."""
        await wait_while_taken(self._settings, self._instance, member, self._asking)

    def on_revoked(self) -> None:
        """What the group gives out next is not known yet."""
        self._is_assigned = False
        logger.info("revoked", group=self._group)
        self._on_change()

    def on_assigned(self, partitions: Mapping[str, int], *, is_complete: bool) -> None:
        """So many partitions of these topics are read from where the feed ends; what waits is fetched again."""
        self._is_assigned, self._is_complete = True, is_complete
        self._begun = self._beginning
        for topic, served in self._served.items():
            served.waiting.clear()
            telemetry.PARTITIONS.labels(served.name).set(partitions.get(topic, 0))
        self._on_change()

    async def _pass_on(self, stream: Any) -> None:
        """The agent. Acknowledging is ours alone: Faust's own would also acknowledge what failed."""
        self._stream = stream = stream.noack()
        consumer: ImageConsumer = self._app.consumer
        async for event in stream.events():
            stretch: Stretch = event.message.stretch
            served = self._begun.get(stretch.topic)
            if served is not None and not served.stop.is_set() and stretch.seek == consumer.seek_number:
                self._came(served, stretch._replace(event=event))

    async def _new_app(self) -> Any:
        settings = self._settings
        await self._forget_former_selves()
        app: Any = ImageApp(
            self._group,
            broker=";".join(f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")),
            broker_credentials=faust_credentials(settings),
            autodiscover=False,
            key_serializer="raw",
            value_serializer="raw",
            processing_guarantee="at_least_once",
            PartitionAssignor=SpreadingAssignor,
            consumer_group_instance_id=self._instance.text,
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=PARTITION_SIZE_BYTES_MAX,
            # How soon partitions that are added while this runs are noticed; a rebalance follows.
            consumer_metadata_max_age_ms=METADATA_AGE_MS_MAX,
            broker_commit_interval=1.0,
            broker_commit_every=1000,
            broker_session_timeout=SESSION_TIMEOUT_S,
            broker_heartbeat_interval=3.0,
            broker_request_timeout=ANSWER_TIMEOUT_S,
            # However long a dependency is away, the partitions stay here: another embedder would wait for it too.
            broker_max_poll_interval=86_400.0,
            broker_max_poll_records=2 * settings.batch_images_max,
            stream_buffer_maxsize=FETCHED_STRETCHES_MAX,
            # What is not acknowledged is read again: waiting for it would only delay the end, or a rebalance.
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            worker_redirect_stdouts=False,
        )
        app.transport.watcher = self
        app.tables._recovery = PatientRecovery(app, app.tables, beacon=app.tables.beacon, loop=app.loop)
        images = app.topic(*sorted(self._subscribed), key_type=bytes, value_type=bytes)
        app.agent(images, concurrency=1, supervisor_strategy=CrashingSupervisor)(self._pass_on)
        return app

    async def _forget_former_selves(self) -> None:
        """Name this member. Kafka hands a static member that comes back what it had before, also when it now subscribes to other
        topics; so the name tells the logs, and a former self of this slot that differs is taken out of the group.
        """
        logs = (served.embedder.log for served in self._served.values())
        self._instance = Instance.of(self._group, logs, machine=self._settings.machine, slot=self._slot)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(
            self._asking,
            lambda: forget_former_selves(self._settings, self._instance, topics=self._subscribed.keys()),
        )
