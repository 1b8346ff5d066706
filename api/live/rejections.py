"""The records that were refused last, followed in the rejected topic."""

import threading
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from api.answers.records import Source
from api.answers.rejected import RejectedRecord
from contract.errors import DependencyError
from contract.messages import Rejection
from contract.record_key import RecordKey
from contract.settings import Settings
from topics.clients import open_reader

REJECTED_MAX = 50
CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_MS = 200
READS_MAX = 50
# A refused image may have 32 MiB; the consumer holds no more than one such of each partition.
FETCH_SIZE_BYTES_MAX = 1024 * 1024


class Rejections:
    """Follows the rejected topic, on demand: each record is fetched once, and the last ones are kept without their values.

    Called from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: KafkaConsumer | None = None
        self._reading = threading.Lock()
        self._kept: dict[RecordKey, RejectedRecord] = {}

    def newest(self) -> tuple[list[RejectedRecord], bool]:
        """What was refused last, newest first, and whether nothing is missing: Kafka may be away."""
        with self._reading:
            try:
                self._read_on()
                is_complete = True
            except (KafkaError, DependencyError, OSError):
                self._close()
                is_complete = False
            ordered = sorted(self._kept.values(), key=lambda record: record.source.timestamp, reverse=True)
            return ordered, is_complete

    def close(self) -> None:
        """Let go of Kafka."""
        with self._reading:
            self._close()

    def _read_on(self) -> None:
        if self._consumer is None:
            self._consumer = self._open()
        places = list(self._consumer.assignment())
        ends = self._consumer.end_offsets(places)
        for _ in range(READS_MAX):
            if all(self._consumer.position(place) >= ends[place] for place in places):
                break
            for records in self._consumer.poll(timeout_ms=READ_TIMEOUT_MS, max_records=REJECTED_MAX).values():
                for record in records:
                    self._keep(record)
        newest = sorted(self._kept, key=lambda key: self._kept[key].source.timestamp)[-REJECTED_MAX:]
        self._kept = {key: self._kept[key] for key in newest}

    def _open(self) -> KafkaConsumer:
        consumer = open_reader(
            self._settings,
            connect_timeout_s=CONNECT_TIMEOUT_S,
            client_id="lookalike-api-rejected",
            fetch_max_bytes=FETCH_SIZE_BYTES_MAX,
            max_partition_fetch_bytes=FETCH_SIZE_BYTES_MAX,
        )
        topic = self._settings.rejected_topic
        places = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic) or ()]
        if not places:
            consumer.close()
            raise DependencyError("kafka", f"The topic {topic} does not exist.")
        consumer.assign(places)
        starts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        for place in places:
            consumer.seek(place, max(starts[place], ends[place] - REJECTED_MAX))
        return consumer

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close(timeout_ms=500)
            self._consumer = None

    def _keep(self, record: Any) -> None:
        try:
            refused = Rejection.from_headers(list(record.headers))
        except ValueError:
            return  # no embedder wrote it
        self._kept.setdefault(
            refused.key,
            RejectedRecord(
                key=None if record.key is None else record.key.decode("utf-8", "backslashreplace")[:300],
                reason=refused.reason,
                detail=refused.detail,
                size_bytes=None if record.value is None else len(record.value),
                source=Source(**refused.key._asdict(), timestamp=record.timestamp),
            ),
        )
