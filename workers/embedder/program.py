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
from collections.abc import Collection as Names

import structlog

from contract import telemetry
from contract.collections import DEFAULT_COLLECTION
from contract.settings import Settings
from gallery.store.store import Store
from runtime.credentials import check_credentials
from runtime.memory import give_back_large_blocks
from runtime.priority import give_way_unless_first
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, end_when_a_call_hangs, retrying
from runtime.tracing import TRACING
from workers.embedder.opening import Opener
from workers.embedder.pipeline import Pipeline

logger = structlog.get_logger()


def run(
    settings: Settings,
    *,
    slot: int = 0,
    collections: Names[str] = (),
    connect: Callable[[Settings], Store] = Store.connect,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Embed until SIGTERM or SIGINT; returns the exit status.

    Args:
        slot: number of this embedder among those that run on this machine. A restarted one with the same slot gets its
            partitions back at once.
        collections: names of those to embed; none are all that there are, also those that are created while this runs.
        connect: opens the store.
        clock: seconds, never going back.

    Raises:
        ConfigurationError: the topic or a setting does not serve.
    """
    check_credentials(settings)
    stop = threading.Event()
    _prepare_process(settings, stop)
    try:
        store = retrying(lambda: connect(settings), "cassandra", stop)
        opener = Opener(settings, store, names=collections, clock=clock, stop=stop)
        wanted = retrying(opener.wanted, "cassandra", stop)
        if list(wanted) == [DEFAULT_COLLECTION]:
            # Nothing else would be embedded meanwhile, so a person who starts this had better know.
            retrying(lambda: opener.check(wanted[DEFAULT_COLLECTION]), "kafka", stop)
    except StoppedError:
        return 0
    # Not closed at the end, which waits for tasks of Faust that may wait for Kafka for ever.
    status = asyncio.Runner().run(Pipeline(settings, opener, slot=slot, clock=clock, stop=stop).run())
    opener.close()
    TRACING.stop()
    logger.info("ended", exit_status=status)
    sys.stdout.flush()
    # A thread may still wait for an answer of Cassandra or Kafka that never comes. Nothing is left that must be done.
    os._exit(status)


def _prepare_process(settings: Settings, stop: threading.Event) -> None:
    """What concerns the whole process: memory, signals, metrics, readiness."""
    give_back_large_blocks()
    give_way_unless_first(settings, "images")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.metrics_host, settings.embedder_metrics_port, "EMBEDDER_METRICS_PORT")
    TRACING.start(settings, "lookalike-embedder")
    READINESS.need("kafka", "cassandra", "partitions")
    end_when_a_call_hangs()
