"""Waiting out the failures of what we depend on, and ending a process whose call never comes back."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from contract import telemetry
from contract.errors import DependencyError
from runtime.readiness import READINESS

RETRY_S_MIN = 0.1
RETRY_S_MAX = 5.0
# Clients bound every request, most of them to 12 s, and a call is a few of them. What takes longer hangs inside its client.
CALL_S_MAX = 180.0
WATCH_INTERVAL_S = 5.0

logger = structlog.get_logger()
T = TypeVar("T")

# By thread: what is called and since when.
_calls: dict[int, tuple[str, float]] = {}


class StoppedError(Exception):
    """The process was told to end while it waited for a dependency."""


def retrying(call: Callable[[], T], dependency: str, stop: threading.Event) -> T:
    """Call until it works, with growing pauses while the dependency fails; the wait shows in metrics and log.

    Raises:
        StoppedError: `stop` was set. What was being done may or may not have happened.
    """
    delay_s = RETRY_S_MIN
    failed = set()
    while not stop.is_set():
        try:
            result = call_watched(call, dependency)
        except DependencyError as error:
            failed.add(error.dependency)
            READINESS.note(error.dependency, is_good=False)
            telemetry.DEPENDENCY_UP.labels(error.dependency).set(0)
            telemetry.DEPENDENCY_RETRIES.labels(error.dependency).inc()
            logger.warning("retrying", dependency=error.dependency, detail=error.detail, in_s=delay_s)
        else:
            for good in failed | {dependency}:
                telemetry.DEPENDENCY_UP.labels(good).set(1)
                READINESS.note(good, is_good=True)
            return result
        stop.wait(delay_s)
        delay_s = min(delay_s * 2, RETRY_S_MAX)
    raise StoppedError


def call_watched(call: Callable[[], T], dependency: str) -> T:
    """Call once; `end_when_a_call_hangs` knows of it meanwhile."""
    _calls[threading.get_ident()] = dependency, time.monotonic()
    try:
        return call()
    finally:
        _calls.pop(threading.get_ident(), None)


def end_when_a_call_hangs() -> None:
    """End this process with status 1, after telling where its threads are, once a call to Kafka or Cassandra does not come back.

    Nothing that is not durable was acknowledged, so the process that is started next does it again.
    """
    threading.Thread(target=_watch, name="hanging calls", daemon=True).start()


def _watch() -> None:
    while True:
        time.sleep(WATCH_INTERVAL_S)
        for dependency, began in list(_calls.values()):
            # The decoder ends its child by itself, and may have to for each image of a batch.
            if dependency != "decoder" and time.monotonic() - began > CALL_S_MAX:
                logger.error("ending because a call hangs", dependency=dependency, s=round(time.monotonic() - began))
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)
