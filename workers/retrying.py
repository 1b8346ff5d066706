"""Waiting out the failures of what we depend on."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from contract import telemetry
from contract.errors import DependencyError

RETRY_S_MIN = 0.1
RETRY_S_MAX = 5.0

log = structlog.get_logger()
T = TypeVar("T")


class StoppedError(Exception):
    """The process was told to end while it waited for a dependency."""


def retrying(call: Callable[[], T], dependency: str, stop: threading.Event) -> T:
    """Call until it works, with growing pauses while the dependency fails; the wait shows in metrics and log.

    Raises:
        StoppedError: `stop` was set. What was being done may or may not have happened.
    """
    delay_s = RETRY_S_MIN
    while not stop.is_set():
        try:
            result = call()
        except DependencyError as error:
            telemetry.READY.set(0)
            telemetry.DEPENDENCY_UP.labels(error.dependency).set(0)
            telemetry.DEPENDENCY_RETRIES.labels(error.dependency).inc()
            log.warning("retrying", dependency=error.dependency, detail=error.detail, in_s=delay_s)
            stop.wait(delay_s)
            delay_s = min(delay_s * 2, RETRY_S_MAX)
        else:
            telemetry.DEPENDENCY_UP.labels(dependency).set(1)
            telemetry.READY.set(1)
            return result
    raise StoppedError
