"""Publishes batches of messages as they are, and returns when Kafka has confirmed all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.serializer import Serializer

from contract.errors import DependencyError
from contract.messages import MESSAGE_SIZE_BYTES_MAX, Headers
from contract.settings import Settings
from topics.clients import CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, close_producer, connect

DELIVERY_TIMEOUT_S = 30.0
NO_KEY = object()


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a record carries; key and value may both be null."""

    key: bytes | None
    value: bytes | None
    headers: Headers


class KeySerializer(Serializer):  # type: ignore[misc]
    """Lets `NO_KEY` stand for no key: kafka-python refuses a record without key and value, but only looks before this."""

    def serialize(self, topic: str, headers: object, data: bytes | object) -> bytes | None:  # noqa: ARG002
        """The key's bytes as they are."""
        return data if isinstance(data, bytes) else None


class BatchPublisher:
    """Publishes to one topic; connects at the first batch. Not thread-safe."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._producer: KafkaProducer | None = None

    def publish(self, messages: Sequence[Message]) -> list[tuple[int, int]]:
        """Publish messages, and return partition and offset of each.

        Raises:
            DependencyError: Kafka did not confirm all of them; publishing them again may repeat some.
        """
        try:
            if self._producer is None:
                self._producer = open_producer(
                    self._settings,
                    client_id="lookalike-rejected",
                    max_block_ms=round(CONNECT_TIMEOUT_S * 1000),
                    request_timeout_ms=round(REQUEST_TIMEOUT_S * 1000),
                    delivery_timeout_ms=round(DELIVERY_TIMEOUT_S * 1000),
                )
            sent = [
                self._producer.send(
                    self._topic,
                    value=message.value,
                    key=NO_KEY if message.key is None else message.key,
                    headers=message.headers,
                )
                for message in messages
            ]
            confirmed = [future.get(DELIVERY_TIMEOUT_S + 5) for future in sent]
        except KafkaError as error:
            # A producer may not recover from what it has met; a new one knows nothing of it.
            self.close()
            raise DependencyError("kafka", f"publishing to {self._topic} failed: {error}") from error
        return [(found.partition, found.offset) for found in confirmed]

    def close(self) -> None:
        """Close the connection without waiting for what is not confirmed."""
        if self._producer is not None:
            close_producer(self._producer, 0)
            self._producer = None


def open_producer(settings: Settings, *, client_id: str, **options: object) -> KafkaProducer:
    """A producer whose records are confirmed by all replicas, once and in order; `NO_KEY` may be a key.

    Raises:
        DependencyError: no broker answers.
    """
    producer, _ = connect(
        KafkaProducer,
        settings,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        client_id=client_id,
        key_serializer=KeySerializer(),
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=MESSAGE_SIZE_BYTES_MAX,
        allow_auto_create_topics=False,
        **options,
    )
    return producer
