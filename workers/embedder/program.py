"""The embedder: reads images from Kafka, embeds them, makes them durable in Cassandra, and only then acknowledges.

Faust brings the consumer group and the batches; `consumer` says where reading starts, `batch` what is
done. A failing dependency is waited for; any other failure ends the process with nothing acknowledged that is not durable.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import faust
import structlog
from mode.supervisors import CrashingSupervisor

from contract import telemetry
from contract.errors import ConfigurationError, DependencyError, LookalikeError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from runtime.failpoints import failpoint
from runtime.memory import collect_rarely, give_back_large_blocks
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, end_when_a_call_hangs, retrying
from topics.batch_publisher import BatchPublisher
from topics.topic import Topic
from workers.embedder.batch import Batch, BatchEmbedder, Record
from workers.embedder.consumer import FETCH_SIZE_BYTES_MAX, FeedConsumer, FeedTransport
from workers.embedder.pace import Pace, Piece, Pieces
from workers.embedder.stretches import Reached

STOP_S_MAX = 5.0
TOPIC_CHECK_INTERVAL_S = 2.0
# A killed worker's partitions are free after this long, unless it comes back under the same instance id before.
SESSION_TIMEOUT_S = 10.0
# Shorter than Faust's own limit for an assignment, so that the reason is told.
ASSIGNMENT_S_MAX = 60.0
METADATA_AGE_MS_MAX = 3000
# Those of one batch; as many again wait in Faust's buffer.
FETCHED_STRETCHES_MAX = 4
LOG_APPEND_TIME = 1

logger = structlog.get_logger()


def run(settings: Settings, *, slot: int = 0) -> int:
    """Embed until SIGTERM or SIGINT; returns the exit status.

    Args:
        slot: number of this embedder among those that share the topic on this installation. A restarted one with the same
            slot gets its partitions back at once.

    Raises:
        ConfigurationError: the topic or a setting does not serve.
    """
    give_back_large_blocks()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.embedder_metrics_port, "EMBEDDER_METRICS_PORT")
    READINESS.need("kafka", "cassandra", "partitions")
    end_when_a_call_hangs()
    fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
    topic = Topic(settings)
    try:
        log_of_topic = retrying(topic.check, "kafka", stop)
        store = retrying(lambda: Store.connect(settings), "cassandra", stop)
        retrying(lambda: store.feed.add_log(topic=settings.kafka_topic, log=log_of_topic), "cassandra", stop)
    except StoppedError:
        return 0
    decoder = Decoder(settings.encoder, encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)
    rejected = BatchPublisher(settings, settings.rejected_topic)
    batches = BatchEmbedder(topic, log_of_topic, fingerprint, decoder, store, rejected, stop)
    logger.info("embedding", log=log_of_topic, encoder=fingerprint, slot=slot)
    embedder = _Embedder(settings, slot, fingerprint, log_of_topic, topic, store, batches, stop)
    status = asyncio.run(embedder.run())
    decoder.close()
    logger.info("ended", exit_status=status)
    sys.stdout.flush()
    # A thread may still wait for an answer of Cassandra or Kafka that never comes. Nothing is left that must be done.
    os._exit(status)


class _Embedder:
    """Runs Faust until it is told to stop or something breaks."""

    def __init__(
        self,
        settings: Settings,
        slot: int,
        fingerprint: str,
        log_of_topic: str,
        topic: Topic,
        store: Store,
        batches: BatchEmbedder,
        stop: threading.Event,
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._fingerprint = fingerprint
        self._log = log_of_topic
        self._topic = topic
        self._store = store
        self._batches = batches
        self._stop = stop
        # One thread judges and one writes, so batches never overtake each other; others ask where to start.
        self._judging = ThreadPoolExecutor(1, thread_name_prefix="judge")
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
        self._judging.submit(self._batches.warm_up)
        app = self._app()
        collect_rarely()
        tasks = {
            "start": asyncio.create_task(app.start()),
            "stop": asyncio.create_task(told.wait()),
            "crash": asyncio.create_task(app._crashed.wait()),
            "topic": asyncio.create_task(self._watch_topic()),
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
        group = f"lookalike-{settings.cassandra_keyspace}-{self._fingerprint}"
        app: Any = _App(
            group,
            broker=";".join(f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")),
            autodiscover=False,
            key_serializer="raw",
            value_serializer="raw",
            processing_guarantee="at_least_once",
            # With the log, since Kafka hands a static member that comes back what it had before: also when it now subscribes
            # to another topic, and nothing when the topic did not exist for a moment because it was created again.
            consumer_group_instance_id=f"{group}-{self._log.replace(':', '-')}-slot-{self._slot}",
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
        app.agent(images, concurrency=1, supervisor_strategy=CrashingSupervisor)(self._embed)
        return app

    async def _embed(self, stream: Any) -> None:
        """The agent: one batch is judged while the one before is written. Acknowledging is ours alone: Faust's own would
        also acknowledge what failed."""
        stream = stream.noack()
        fetched: asyncio.Queue[Any] = asyncio.Queue(FETCHED_STRETCHES_MAX)
        judged: asyncio.Queue[tuple[list[Piece], Batch]] = asyncio.Queue(1)
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._judge(fetched, judged))
                stages.create_task(self._write(judged, stream))
                async for event in stream.events():
                    await fetched.put(event)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _judge(self, fetched: asyncio.Queue[Any], judged: asyncio.Queue[tuple[list[Piece], Batch]]) -> None:
        """Batches are what has come meanwhile: small and quick when little comes, large and cheap when much does."""
        loop = asyncio.get_running_loop()
        pace, waiting = Pace(self._settings.batch_images_max), Pieces(fetched)
        while True:
            pieces = await waiting.take(pace.count)
            records = [_record(reached) for piece in pieces for reached in piece.stretch.records]
            began_s = loop.time()
            batch = await loop.run_in_executor(self._judging, self._batches.judge, records)
            pace.note(len(records), loop.time() - began_s)
            await judged.put((pieces, batch))
            del pieces, records, batch  # not while the next is waited for: large pictures would be held twice

    async def _write(self, judged: asyncio.Queue[tuple[list[Piece], Batch]], stream: Any) -> None:
        loop = asyncio.get_running_loop()
        consumer: FeedConsumer = stream.app.consumer
        while True:
            pieces, batch = await judged.get()
            await loop.run_in_executor(self._writing, self._batches.write, batch)
            failpoint("embedder-before-ack")
            consumer.finished(piece.stretch for piece in pieces)
            for event in (piece.event for piece in pieces if piece.event is not None):
                await stream.ack(event)
            del pieces, batch

    async def _first_missing(self, committed: Mapping[int, int]) -> dict[int, int]:
        def ask(partition: int, offset: int) -> int:
            return retrying(
                lambda: self._store.feed.next_offset(
                    RecordKey(self._log, partition, offset), fingerprint=self._fingerprint
                ),
                "cassandra",
                self._stop,
            )

        loop = asyncio.get_running_loop()
        answers = asyncio.gather(*(loop.run_in_executor(self._asking, ask, *each) for each in committed.items()))
        try:
            return dict(zip(committed, await asyncio.wait_for(answers, ASSIGNMENT_S_MAX), strict=True))
        except TimeoutError as error:
            # Outside of the group the next process can wait for ever without holding partitions.
            raise DependencyError("cassandra", f"no answer for {ASSIGNMENT_S_MAX} s about where to start") from error

    async def _watch_topic(self) -> None:
        """Notice a re-created topic, and a dependency that is away, also while nothing arrives."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TOPIC_CHECK_INTERVAL_S)
            for dependency, check in (
                ("kafka", lambda: self._topic.verify(self._log)),
                ("cassandra", lambda: self._store.feed.logs(self._settings.kafka_topic)),
            ):
                try:
                    await loop.run_in_executor(self._asking, check)
                except DependencyError as error:
                    logger.warning("dependency not checked", dependency=error.dependency, detail=error.detail)
                    READINESS.note(dependency, is_good=False)
                else:
                    READINESS.note(dependency, is_good=True)


class _App(faust.App):
    """A Faust app with our consumer, and without folders for tables, of which it has none."""

    def _new_transport(self) -> FeedTransport:
        return FeedTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Make no folders."""


def _record(reached: Reached) -> Record:
    record = reached.record
    if record.timestamp_type != LOG_APPEND_TIME:
        raise ConfigurationError(
            f"Record {record.offset} of {record.topic}-{record.partition} carries its producer's time: the topic's "
            "message.timestamp.type was changed from LogAppendTime. See `python -m producers topics`."
        )
    return Record(
        partition=record.partition,
        offset=record.offset,
        after=reached.after,
        is_expired=reached.is_expired,
        is_gap=reached.is_gap,
        kafka_time_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def _explain(failure: BaseException) -> None:
    if isinstance(failure, LookalikeError):
        logger.error(str(failure))
    else:
        logger.error("ending because of a bug", exc_info=failure)
