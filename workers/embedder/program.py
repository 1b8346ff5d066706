"""Puts the embedder together from its parts, and runs it until it is told to stop or something breaks.

A failing dependency is waited for; any other failure ends the process with nothing acknowledged that is not durable.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

import structlog

from contract import telemetry
from contract.settings import Settings
from gallery.store.store import Store
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from runtime.memory import give_back_large_blocks
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, end_when_a_call_hangs, retrying
from topics.batch_publisher import BatchPublisher
from topics.topic import Topic
from workers.embedder.batch import BatchEmbedder
from workers.embedder.pipeline import Pipeline

logger = structlog.get_logger()


def run(
    settings: Settings,
    *,
    slot: int = 0,
    connect: Callable[[Settings], Store] = Store.connect,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Embed until SIGTERM or SIGINT; returns the exit status.

    Args:
        slot: number of this embedder among those that share the topic on this installation. A restarted one with the same
            slot gets its partitions back at once.
        connect: opens the store.
        clock: seconds, never going back.

    Raises:
        ConfigurationError: the topic or a setting does not serve.
    """
    stop = threading.Event()
    _prepare_process(settings, stop)
    fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
    topic = Topic(settings)
    try:
        log = retrying(topic.check, "kafka", stop)
        store = retrying(lambda: connect(settings), "cassandra", stop)
        retrying(lambda: store.feed.add_log(topic=settings.kafka_topic, log=log), "cassandra", stop)
    except StoppedError:
        return 0
    decoder = Decoder(settings.encoder, encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)
    embedder = BatchEmbedder(
        log=log,
        fingerprint=fingerprint,
        topic=topic,
        store=store,
        decoder=decoder,
        rejected=BatchPublisher(settings, settings.rejected_topic),
        clock=clock,
        stop=stop,
    )
    logger.info("embedding", log=log, encoder=fingerprint, slot=slot)
    status = asyncio.run(Pipeline(settings, embedder, slot=slot, clock=clock, stop=stop).run())
    decoder.close()
    logger.info("ended", exit_status=status)
    sys.stdout.flush()
    # A thread may still wait for an answer of Cassandra or Kafka that never comes. Nothing is left that must be done.
    os._exit(status)


def _prepare_process(settings: Settings, stop: threading.Event) -> None:
    """What concerns the whole process: memory, signals, metrics, readiness."""
    give_back_large_blocks()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.embedder_metrics_port, "EMBEDDER_METRICS_PORT")
    READINESS.need("kafka", "cassandra", "partitions")
    end_when_a_call_hangs()
