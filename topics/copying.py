"""Copies records of a topic as they are: reads them in the order that counts, and publishes them again into the same partitions."""

import hashlib
import heapq
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from topics.batch_publisher import NO_KEY, open_producer
from topics.clients import CONNECT_TIMEOUT_S, close_producer, open_reader
from topics.polling import polled_to

_FETCH_SIZE_BYTES_MAX = 1024 * 1024
_UNCONFIRMED_MAX = 256
_UNCONFIRMED_BYTES_MAX = 16 * 1024 * 1024
_CONFIRM_S = 60.0


class CopiedRecord(NamedTuple):
    """A record as it stands in a topic; Kafka's time of it is not kept where it is published again."""

    partition: int
    offset: int
    kafka_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def names(self) -> bytes:
        """The image that it speaks of."""
        return hashlib.sha256(self.value or b"").hexdigest().encode() if self.key is None else self.key


def read_records(settings: Settings, topic: str, starts: Mapping[int, int]) -> Iterator[CopiedRecord]:
    """The committed records of a topic from some offsets on, up to where it ends now, ordered by the running maximum of their times.

    Args:
        starts: first offset by partition, 0 where there is none; what Kafka has expired is passed over.

    Raises:
        ConfigurationError: there is no such topic.
        DependencyError: Kafka did not answer.
    """
    asking = open_reader(settings, connect_timeout_s=CONNECT_TIMEOUT_S, client_id="lookalike-copy")
    try:
        places = [TopicPartition(topic, number) for number in sorted(asking.partitions_for_topic(topic) or ())]
        if not places:
            raise ConfigurationError(f"Topic {topic} does not exist. Create it: lookalike topics")
        firsts, ends = asking.beginning_offsets(places), asking.end_offsets(places)
    except (KafkaError, OSError) as error:
        raise DependencyError("kafka", f"asking for the offsets of {topic} failed: {error}") from error
    finally:
        asking.close(timeout_ms=500)
    partitions = [
        _of_partition(settings, place, max(firsts[place], starts.get(place.partition, 0)), ends[place])
        for place in places
    ]
    for _, _, _, record in heapq.merge(*partitions, key=lambda each: each[:3]):
        yield record


def publish_records(settings: Settings, topic: str, records: Iterable[CopiedRecord]) -> int:
    """Publish records into the partitions that they had, in this order where they speak of one image; returns how many.

    Raises:
        DependencyError: Kafka did not confirm all of them.
    """
    producer = open_producer(settings, client_id="lookalike-copy")
    sent: list[Any] = []
    partition_of: dict[bytes, int] = {}
    size_bytes = count = 0
    try:
        for record in records:
            is_elsewhere = partition_of.get(record.names, record.partition) != record.partition
            if is_elsewhere or len(sent) >= _UNCONFIRMED_MAX or size_bytes > _UNCONFIRMED_BYTES_MAX:
                _confirm(producer, sent)
                partition_of, size_bytes = {}, 0
                if is_elsewhere:
                    time.sleep(0.002)  # Of two partitions' records, the later one has the later time, in milliseconds.
            sent.append(
                producer.send(
                    topic,
                    value=record.value,
                    key=NO_KEY if record.key is None else record.key,
                    headers=[(name, content or b"") for name, content in record.headers],
                    partition=record.partition,
                )
            )
            partition_of[record.names] = record.partition
            size_bytes += len(record.value or b"")
            count += 1
        _confirm(producer, sent)
    except KafkaError as error:
        raise DependencyError("kafka", f"publishing to {topic} failed: {error}") from error
    finally:
        close_producer(producer, 0)
    return count


def _confirm(producer: KafkaProducer, sent: list[Any]) -> None:
    producer.flush(_CONFIRM_S)
    for future in sent:
        future.get(_CONFIRM_S)
    sent.clear()


def _of_partition(
    settings: Settings, place: TopicPartition, start: int, end: int
) -> Iterator[tuple[int, int, int, CopiedRecord]]:
    """Records of one partition with what orders them."""
    if start >= end:
        return
    consumer = open_reader(
        settings,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        client_id="lookalike-copy",
        max_partition_fetch_bytes=_FETCH_SIZE_BYTES_MAX,
        fetch_max_bytes=_FETCH_SIZE_BYTES_MAX,
    )
    effective_ms = 0
    try:
        consumer.assign([place])
        consumer.seek(place, start)
        for found in itertools.chain.from_iterable(polled_to(consumer, {place: end}, records_max=64)):
            if found.offset >= end:
                return
            effective_ms = max(effective_ms, found.timestamp)
            headers = [(name, content) for name, content in found.headers]
            record = CopiedRecord(place.partition, found.offset, found.timestamp, found.key, found.value, headers)
            yield effective_ms, place.partition, found.offset, record
    except (KafkaError, OSError) as error:
        raise DependencyError("kafka", f"reading {place.topic} failed: {error}") from error
    finally:
        consumer.close(timeout_ms=500)
