"""Where the partitions of topics begin and end."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.protocol.consumer.offsets import IsolationLevel

from contract.messages import log_of


@dataclass(frozen=True, kw_only=True)
class EndOffsets:
    """A topic's log, and where its partitions end.

    Attributes:
        offsets: behind the last record of each partition.
        stable: the same, but not beyond the first record of a transaction that is open.
        asked_at_ms: when Kafka was asked, milliseconds since 1970.
    """

    log: str
    offsets: dict[int, int]
    stable: dict[int, int]
    asked_at_ms: int = 0


def end_offsets_of(admin: KafkaAdminClient, topics: Sequence[str]) -> dict[str, EndOffsets]:
    """Where the partitions of these topics end, asked for all at once; without those that do not exist."""
    asked_at_ms = time.time_ns() // 1_000_000
    described = {found["name"]: found for found in admin.describe_topics(list(topics)) if not found["error_code"]}
    ends = partition_offsets(admin, described.values(), OffsetSpec.LATEST)
    stable = partition_offsets(
        admin, described.values(), OffsetSpec.LATEST, isolation_level=IsolationLevel.READ_COMMITTED
    )
    return {
        name: EndOffsets(
            log=log_of(name, found["topic_id"]), offsets=ends[name], stable=stable[name], asked_at_ms=asked_at_ms
        )
        for name, found in described.items()
    }


def partition_offsets(
    admin: KafkaAdminClient, described: Iterable[dict[str, Any]], spec: OffsetSpec, **options: object
) -> dict[str, dict[int, int]]:
    """The first or last offset of each partition, by topic."""
    places = [
        TopicPartition(topic["name"], found["partition_index"]) for topic in described for found in topic["partitions"]
    ]
    offsets: dict[str, dict[int, int]] = {place.topic: {} for place in places}
    if places:
        for place, answer in admin.list_partition_offsets(dict.fromkeys(places, spec), **options).items():
            offsets[place.topic][place.partition] = answer.offset
    return offsets
