"""Where the topic's partitions end, asked again and again in the background."""

import threading
from collections.abc import Callable

import structlog

from contract.errors import DependencyError
from contract.settings import Settings
from contract.telemetry import DEPENDENCY_RETRIES, DEPENDENCY_UP
from topics.topic import EndOffsets, Topic

POLL_INTERVAL_S = 1.0

logger = structlog.get_logger()


class EndOffsetsPoller:
    """Calls `report(ends, is_up)` about once a second from its own thread; `ends` is None while the topic is missing."""

    def __init__(self, settings: Settings, report: Callable[[EndOffsets | None, bool], None]) -> None:
        self._topic = Topic(settings)
        self._report = report
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="end-offsets", daemon=True)

    def start(self) -> None:
        """Begin; Kafka may be away."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it is not waited for, since it may be in the middle of a timeout."""
        self._stopped.set()

    def _poll(self) -> None:
        was_up = True
        while not self._stopped.is_set():
            try:
                ends, is_up = self._topic.end_offsets(), True
            except DependencyError as error:
                ends, is_up = None, False
                if was_up:
                    logger.warning("kafka is away", detail=error.detail)
                DEPENDENCY_RETRIES.labels("kafka").inc()
            DEPENDENCY_UP.labels("kafka").set(is_up)
            was_up = is_up
            if not self._stopped.is_set():
                self._report(ends, is_up)
            self._stopped.wait(POLL_INTERVAL_S)
        self._topic.close()
