"""What Kafka holds, read again from the first record to the last by a plain consumer."""

import base64
import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

HELD_FILE = "held.json"


class HeldRecord(NamedTuple):
    """A record of the topic of images; `headers` of one name: the last one's value."""

    partition: int
    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes]


class HeldRejection(NamedTuple):
    """A record of the rejected topic: which record of which log was refused, and why."""

    log: str
    partition: int
    offset: int
    reason: str


class HeldMatch(NamedTuple):
    """A record of the topic of matches: `id` of the match, the watch, and the record that it was told of."""

    id: str
    watch: str
    image: str
    log: str
    partition: int
    offset: int
    distance: float


@dataclass(frozen=True)
class Held:
    """All topics of one collection; `log` is the incarnation of the topic of images. Records are in the order of their places."""

    log: str
    records: list[HeldRecord]
    rejections: list[HeldRejection]
    matches: list[HeldMatch]


def read_held(bootstrap: str, topic: str) -> Held:
    """Read everything that is committed and still there.

    Args:
        bootstrap: host and port of a broker.
        topic: of the images; those of rejections and matches are named after it.
    """
    images = [
        HeldRecord(r.partition, r.offset, r.timestamp, r.key, r.value, dict(r.headers)) for r in _all(bootstrap, topic)
    ]
    return Held(
        log_of_topic(bootstrap, topic),
        images,
        [held_rejection(dict(record.headers)) for record in _all(bootstrap, f"{topic}.rejected")],
        [held_match(record.value) for record in _all(bootstrap, f"{topic}.matches")],
    )


def log_of_topic(bootstrap: str, topic: str) -> str:
    """The topic's name and Kafka's id of it, as Kafka's own tools write it: 22 characters."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        (found,) = admin.describe_topics([topic])
    number = uuid.UUID(str(found["topic_id"])).bytes
    return f"{topic}:{base64.urlsafe_b64encode(number).decode().rstrip('=')}"


def held_rejection(headers: dict[str, bytes]) -> HeldRejection:
    """What the headers of a rejected record say."""
    told = {name: headers[f"lookalike-{name}"].decode() for name in ("log", "partition", "offset", "reason")}
    return HeldRejection(told["log"], int(told["partition"]), int(told["offset"]), told["reason"])


def held_match(value: bytes) -> HeldMatch:
    """What a record of the topic of matches says."""
    told = json.loads(value)
    source = told["source"]
    place = source["log"], source["partition"], source["offset"]
    return HeldMatch(told["id"], told["watch"], told["image"], *place, told["distance"])


def _all(bootstrap: str, topic: str) -> list[Any]:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        isolation_level="read_committed",
        max_partition_fetch_bytes=40 * 1024 * 1024,
    )
    with closing(consumer):
        places = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found: list[Any] = []
        while any(consumer.position(place) < ends[place] for place in places):
            for batch in consumer.poll(1000).values():
                found += batch
        return sorted(found, key=lambda record: (record.partition, record.offset))
