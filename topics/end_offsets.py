"""Where the partitions of many topics end, asked again and again in the background, for all in one request."""

import threading
from collections.abc import Callable, Mapping, Sequence

import structlog
from kafka import KafkaAdminClient
from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from contract.errors import DependencyError
from contract.settings import Settings
from contract.telemetry import DEPENDENCY_RETRIES, DEPENDENCY_UP
from topics.clients import open_admin
from topics.offsets import EndOffsets, end_offsets_of

POLL_INTERVAL_S = 1.0

logger = structlog.get_logger()


class EndOffsetsPoller:
    """Calls `report(ends, is_up)` about once a second from its own thread; topics that are missing have no ends.

    Args:
        topics: names those to ask about, anew each time.
    """

    def __init__(
        self,
        settings: Settings,
        topics: Callable[[], Sequence[str]],
        report: Callable[[Mapping[str, EndOffsets], bool], None],
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._report = report
        self._admin: KafkaAdminClient | None = None
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
            ends: dict[str, EndOffsets] = {}
            try:
                ends, is_up = self._ask(), True
            except DependencyError as error:
                is_up = False
                if was_up:
                    logger.warning("kafka is away", detail=error.detail)
                DEPENDENCY_RETRIES.labels("kafka").inc()
            DEPENDENCY_UP.labels("kafka").set(is_up)
            was_up = is_up
            if not self._stopped.is_set():
                self._report(ends, is_up)
            self._stopped.wait(POLL_INTERVAL_S)
        self._close()

    def _ask(self) -> dict[str, EndOffsets]:
        try:
            if self._admin is None:
                self._admin = open_admin(self._settings)
            try:
                return end_offsets_of(self._admin, self._topics())
            except UnknownTopicOrPartitionError:  # one was deleted between the two questions
                return end_offsets_of(self._admin, self._topics())
        except (KafkaError, OSError) as error:
            self._close()
            raise DependencyError("kafka", f"asking for the ends of topics failed: {error}") from error

    def _close(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
