"""Publishes refused records to the rejected topic, each with the reason and the place that it came from."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError

from contract.clients import CONNECT_TIMEOUT_S, connect
from contract.errors import DependencyError
from contract.messages import IMAGE_SIZE_BYTES_MAX, MESSAGE_SIZE_BYTES_MAX, Headers, Rejection
from contract.settings import Settings

DELIVERY_TIMEOUT_S = 30.0
# A compressed batch may bring keys and headers that are larger than any message of ours can be.
KEY_SIZE_BYTES_MAX = 64 * 1024
HEADERS_SIZE_BYTES_MAX = 2 * 1024 * 1024


class Message(Protocol):
    """What a record carried."""

    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


class RejectedPublisher:
    """Publishes to one topic, and returns when Kafka has confirmed. Not thread-safe."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._producer: KafkaProducer | None = None

    def publish(self, rejections: Sequence[tuple[Message, Rejection]]) -> None:
        """Publish records with their rejections.

        Raises:
            DependencyError: Kafka did not confirm all of them; publishing them again may repeat some.
        """
        self.publish_messages([rejected_message(message, rejection) for message, rejection in rejections])

    def publish_messages(self, messages: Sequence[dict[str, Any]]) -> None:
        """Publish messages given as keyword arguments of `KafkaProducer.send`; raises like `publish`."""
        try:
            if self._producer is None:
                self._producer = _open(self._settings)
            sent = [self._producer.send(self._topic, **message) for message in messages]
            for future in sent:
                future.get(DELIVERY_TIMEOUT_S + 5)
        except KafkaError as error:
            # A producer may not recover from what it has met; a new one knows nothing of it.
            self.close()
            raise DependencyError("kafka", f"publishing to {self._topic} failed: {error}") from error

    def close(self) -> None:
        """Close the connection without waiting for what is not confirmed."""
        if self._producer is not None:
            self._producer.close(timeout=0)
            self._producer = None


def rejected_message(message: Message, rejection: Rejection) -> dict[str, Any]:
    """Key, value and headers of a refused record, cut where they would not fit into a message.

    A value over 8 MiB becomes JSON with its size and SHA-256. A key over 64 KiB is cut; headers over 2 MiB are left out.
    """
    key, value, headers = message.key, message.value, [*message.headers]
    if value is not None and len(value) > IMAGE_SIZE_BYTES_MAX:
        value = json.dumps({"size_bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}).encode()
    if sum(len(name) + len(content or b"") for name, content in headers) > HEADERS_SIZE_BYTES_MAX:
        headers = []
    return {
        "key": key and key[:KEY_SIZE_BYTES_MAX],
        "value": value,
        "headers": [*headers, *rejection.headers()],
    }


def _open(settings: Settings) -> KafkaProducer:
    producer, _ = connect(
        KafkaProducer,
        settings,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        client_id="lookalike-rejected",
        acks="all",
        enable_idempotence=True,
        linger_ms=5,
        max_request_size=MESSAGE_SIZE_BYTES_MAX,
        max_block_ms=round(CONNECT_TIMEOUT_S * 1000),
        request_timeout_ms=10_000,
        delivery_timeout_ms=round(DELIVERY_TIMEOUT_S * 1000),
        allow_auto_create_topics=False,
    )
    return producer
