"""Lower bounds of freshness: a Kafka round trip and a Cassandra write by themselves, one record after another."""

import time
import uuid
from typing import Any

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from topics.clients import access_options, open_admin

ROUND_TRIP_TIMEOUT_MS = 10_000


def measure_floors(settings: Settings, rounds: int, value: bytes) -> dict[str, Any]:
    """Milliseconds of a Kafka round trip and of one durable Cassandra write, with nothing else going on.

    Args:
        value: what is sent: an encoded image.

    Raises:
        DependencyError: Kafka or Cassandra does not run.
    """
    return {
        "kafka_round_trip": _summary(_round_trips_ms(settings, rounds, value)),
        "cassandra_write": _summary(_writes_ms(settings, rounds)),
        "rounds": rounds,
    }


def _round_trips_ms(settings: Settings, rounds: int, value: bytes) -> list[float]:
    """Produced with acks=all and no linger → handed out by a plain consumer's poll."""
    topic = f"bench-floor-{uuid.uuid4().hex[:8]}"
    admin = open_admin(settings)
    servers = settings.kafka_bootstrap.split(",")
    try:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
        doors = access_options(settings)
        producer = KafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=0, **doors)
        consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, fetch_min_bytes=1, **doors)
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        taken_ms = []
        try:
            for _ in range(rounds + 10):
                began = time.perf_counter()
                producer.send(topic, value)
                if not consumer.poll(timeout_ms=ROUND_TRIP_TIMEOUT_MS, max_records=1):
                    raise DependencyError("kafka", f"a record came not back within {ROUND_TRIP_TIMEOUT_MS} ms.")
                taken_ms.append((time.perf_counter() - began) * 1000)
        finally:
            consumer.close()
            producer.close()
            admin.delete_topics([topic])
    finally:
        admin.close()
    return taken_ms[10:]  # the first ones find out who leads the partition


def _writes_ms(settings: Settings, rounds: int) -> list[float]:
    """One row like an image's, with the store's own statement, until Cassandra says that it is durable."""
    store = Store.connect(settings)
    embedding = np.random.default_rng(0).random(128, np.float32).tobytes()
    log = f"bench-floor:{uuid.uuid4().hex[:8]}"
    taken_ms = []
    try:
        for offset in range(rounds + 10):
            row = FeedRow(RecordKey(log, 0, offset), offset, "put", "", f"floor/{offset}", embedding, 1 + offset)
            began = time.perf_counter()
            store.feed.write([row], fingerprint="bench-floor")
            taken_ms.append((time.perf_counter() - began) * 1000)
    finally:
        store.close()
    return taken_ms[10:]


def _summary(taken_ms: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(float(np.median(taken_ms)), 3),
        "p99_ms": round(float(np.quantile(taken_ms, 0.99)), 3),
    }
