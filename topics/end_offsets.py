"""Where Kafka's partitions end, polled in the background, so that lag and end offsets can be told."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError
from kafka.protocol.consumer.offsets import IsolationLevel

from contract.errors import DependencyError
from contract.messages import log_of
from contract.settings import Settings
from contract.telemetry import DEPENDENCY_RETRIES, DEPENDENCY_UP
from topics.clients import open_admin

POLL_INTERVAL_S = 1.0

logger = structlog.get_logger()


@dataclass(frozen=True)
class Ends:
    """The topic's log and where its partitions end.

    Attributes:
        offsets: behind the last record of each partition.
        stable: the same, but not beyond the first record of a transaction that is open.
    """

    log: str
    offsets: dict[int, int]
    stable: dict[int, int]


class EndsPoller:
    """Calls `report(ends, is_up)` about once a second from its own thread; `ends` is None while the topic is missing."""

    def __init__(self, settings: Settings, report: Callable[[Ends | None, bool], None]) -> None:
        self._settings = settings
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
        admin: KafkaAdminClient | None = None
        was_up = True
        while not self._stopped.is_set():
            try:
                admin = admin or open_admin(self._settings)
                ends, is_up = read_ends(admin, self._settings.kafka_topic), True
            except (KafkaError, DependencyError, OSError) as error:
                ends, is_up = None, False
                if was_up:
                    logger.warning("kafka is away", detail=repr(error))
                DEPENDENCY_RETRIES.labels("kafka").inc()
                if admin is not None:
                    admin.close()
                admin = None
            DEPENDENCY_UP.labels("kafka").set(is_up)
            was_up = is_up
            if not self._stopped.is_set():
                self._report(ends, is_up)
            self._stopped.wait(POLL_INTERVAL_S)
        if admin is not None:
            admin.close()


def read_ends(admin: KafkaAdminClient, topic: str) -> Ends | None:
    """None while the topic does not exist."""
    described = admin.describe_topics([topic])[0]
    if described["error_code"]:
        return None
    partitions = [TopicPartition(topic, found["partition_index"]) for found in described["partitions"]]
    wanted = dict.fromkeys(partitions, OffsetSpec.LATEST)
    offsets, stable = (
        {partition.partition: place.offset for partition, place in found.items()}
        for found in (
            admin.list_partition_offsets(wanted),
            admin.list_partition_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED),
        )
    )
    return Ends(log_of(topic, described["topic_id"]), offsets, stable)
