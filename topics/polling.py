"""Reading a topic up to an end, by a consumer that belongs to no group."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from contract.errors import DependencyError

STILL_S_MAX = 30.0
_POLL_TIMEOUT_MS = 200


def polled_to(
    consumer: KafkaConsumer,
    ends: Mapping[TopicPartition, int],
    *,
    records_max: int,
    still_s_max: float = STILL_S_MAX,
) -> Iterator[list[Any]]:
    """The records from where a consumer stands up to the ends of its partitions, as each poll brings them: some may lie behind.

    Raises:
        DependencyError: for `still_s_max` seconds nothing came. A Kafka that stands still gives no error, and no record.
        KafkaError: Kafka failed.
    """

    def position(place: TopicPartition) -> int:
        return consumer.position(place) or 0  # None: Kafka did not say in time

    moved_s = time.monotonic()
    while behind := {place: at for place, end in ends.items() if (at := position(place)) < end}:
        if polled := consumer.poll(timeout_ms=_POLL_TIMEOUT_MS, max_records=records_max):
            yield [record for records in polled.values() for record in records]
        # Without a record too: a transaction's end has an offset.
        if any(position(place) > at for place, at in behind.items()):
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > still_s_max:
            place, at = next(iter(behind.items()))
            raise DependencyError(
                "kafka",
                f"reading {place.topic} {place.partition} stopped at {at} of {ends[place]}: "
                f"nothing came for {still_s_max:g} s.",
            )
