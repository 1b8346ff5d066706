"""Passes records through a Faust app: fetched, embedded, written, acknowledged; one batch is embedded while another is written.

Faust brings the consumer group; `consumer` says where reading starts and what Faust takes for one message, `batch` what is
done with records.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from mode.supervisors import CrashingSupervisor

from contract.errors import DependencyError, LookalikeError
from contract.settings import Settings
from runtime.failpoints import failpoint
from runtime.memory import collect_rarely
from runtime.readiness import READINESS
from runtime.retrying import StoppedError
from workers.embedder.batch import Batch, BatchEmbedder
from workers.embedder.consumer import FETCH_SIZE_BYTES_MAX, ImageConsumer, ImageTransport
from workers.embedder.pace import Pace, WaitingStretches
from workers.embedder.records import Stretch

STOP_S_MAX = 5.0
TOPIC_CHECK_INTERVAL_S = 2.0
# A killed worker's partitions are free after this long, unless it comes back under the same instance id before.
SESSION_TIMEOUT_S = 10.0
# Shorter than Faust's own limit for an assignment, so that the reason is told.
ASSIGNMENT_S_MAX = 60.0
METADATA_AGE_MS_MAX = 3000
# Those of one batch; as many again wait in Faust's buffer.
FETCHED_STRETCHES_MAX = 4

logger = structlog.get_logger()


class Pipeline:
    """Runs Faust until it is told to stop or something breaks."""

    def __init__(
        self,
        settings: Settings,
        embedder: BatchEmbedder,
        *,
        slot: int,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._embedder = embedder
        self._slot = slot
        self._clock = clock
        self._stop = stop
        # One thread embeds and one writes, so batches never overtake each other; others ask where to start.
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._asking = ThreadPoolExecutor(2, thread_name_prefix="ask")

    async def run(self) -> int:
        """The exit status: 0 when told to stop, 1 when something broke."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        if self._stop.is_set():
            return 0
        self._embedding.submit(self._embedder.warm_up)
        app = self._app()
        collect_rarely()
        tasks = {
            "start": asyncio.create_task(app.start()),
            "stop": asyncio.create_task(told.wait()),
            "crash": asyncio.create_task(app._crashed.wait()),
            "checks": asyncio.create_task(self._check_dependencies()),
        }
        waiting = set(tasks.values())
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            failure = next((task.exception() for task in done if task.exception()), None)
            if tasks["crash"] in done:
                failure = app.crash_reason
            if failure or tasks["stop"] in done:
                break
        self._stop.set()
        if failure and not isinstance(failure, StoppedError):
            _explain(failure)
        try:
            await asyncio.wait_for(app.stop(), STOP_S_MAX)
        except Exception as error:  # noqa: BLE001 - the outermost loop; what is not acknowledged is read again
            logger.warning("stopped without order", detail=repr(error))
        return 1 if failure and not told.is_set() else 0

    def _app(self) -> Any:
        settings = self._settings
        group = f"lookalike-{settings.cassandra_keyspace}-{self._embedder.fingerprint}"
        app: Any = _App(
            group,
            broker=";".join(f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")),
            autodiscover=False,
            key_serializer="raw",
            value_serializer="raw",
            processing_guarantee="at_least_once",
            # With the log, since Kafka hands a static member that comes back what it had before: also when it now subscribes
            # to another topic, and nothing when the topic did not exist for a moment because it was created again.
            consumer_group_instance_id=f"{group}-{self._embedder.log.replace(':', '-')}-slot-{self._slot}",
            consumer_auto_offset_reset="earliest",
            consumer_max_fetch_size=FETCH_SIZE_BYTES_MAX,
            # How soon partitions that are added while this runs are noticed; a rebalance follows.
            consumer_metadata_max_age_ms=METADATA_AGE_MS_MAX,
            broker_commit_interval=1.0,
            broker_commit_every=1000,
            broker_session_timeout=SESSION_TIMEOUT_S,
            broker_heartbeat_interval=3.0,
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
        app.transport.first_missing = self._first_missing
        images = app.topic(settings.kafka_topic, key_type=bytes, value_type=bytes)
        app.agent(images, concurrency=1, supervisor_strategy=CrashingSupervisor)(self._pass_on)
        return app

    async def _pass_on(self, stream: Any) -> None:
        """The agent. Acknowledging is ours alone: Faust's own would also acknowledge what failed."""
        stream = stream.noack()
        fetched: asyncio.Queue[Stretch] = asyncio.Queue(FETCHED_STRETCHES_MAX)
        embedded: asyncio.Queue[tuple[list[Stretch], Batch]] = asyncio.Queue(1)
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._embed(fetched, embedded))
                stages.create_task(self._write(embedded, stream))
                async for event in stream.events():
                    await fetched.put(event.message.stretch._replace(event=event))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _embed(
        self, fetched: asyncio.Queue[Stretch], embedded: asyncio.Queue[tuple[list[Stretch], Batch]]
    ) -> None:
        """Batches are what has come meanwhile: small and quick when little comes, large and cheap when much does."""
        loop = asyncio.get_running_loop()
        pace, waiting = Pace(self._settings.batch_images_max), WaitingStretches(fetched)
        while True:
            stretches = await waiting.take(pace.count)
            records = [record for stretch in stretches for record in stretch.records]
            began_s = self._clock()
            batch = await loop.run_in_executor(self._embedding, self._embedder.embed, records)
            pace.note(len(records), self._clock() - began_s)
            await embedded.put((stretches, batch))
            del stretches, records, batch  # not while the next is waited for: large pictures would be held twice

    async def _write(self, embedded: asyncio.Queue[tuple[list[Stretch], Batch]], stream: Any) -> None:
        loop = asyncio.get_running_loop()
        consumer: ImageConsumer = stream.app.consumer
        while True:
            stretches, batch = await embedded.get()
            await loop.run_in_executor(self._writing, self._embedder.write, batch)
            failpoint("embedder-before-ack")
            await consumer.acknowledge(stretches, stream)
            del stretches, batch

    async def _first_missing(self, committed: Mapping[int, int]) -> dict[int, int]:
        loop = asyncio.get_running_loop()
        ask = self._embedder.first_missing
        answers = asyncio.gather(*(loop.run_in_executor(self._asking, ask, *each) for each in committed.items()))
        try:
            return dict(zip(committed, await asyncio.wait_for(answers, ASSIGNMENT_S_MAX), strict=True))
        except TimeoutError as error:
            # Outside of the group the next process can wait for ever without holding partitions.
            raise DependencyError("cassandra", f"no answer for {ASSIGNMENT_S_MAX} s about where to start") from error

    async def _check_dependencies(self) -> None:
        """Notice a re-created topic, and a dependency that is away, also while nothing arrives."""
        loop = asyncio.get_running_loop()
        checks = {"kafka": self._embedder.check_topic, "cassandra": self._embedder.check_store}
        while True:
            await asyncio.sleep(TOPIC_CHECK_INTERVAL_S)
            for dependency, check in checks.items():
                try:
                    await loop.run_in_executor(self._asking, check)
                except DependencyError as error:
                    logger.warning("dependency not checked", dependency=error.dependency, detail=error.detail)
                    READINESS.note(dependency, is_good=False)
                else:
                    READINESS.note(dependency, is_good=True)


class _App(faust.App):
    """A Faust app with our consumer, and without folders for tables, of which it has none."""

    def _new_transport(self) -> ImageTransport:
        return ImageTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Make no folders."""


def _explain(failure: BaseException) -> None:
    if isinstance(failure, LookalikeError):
        logger.error(str(failure))
    else:
        logger.error("ending because of a bug", exc_info=failure)
