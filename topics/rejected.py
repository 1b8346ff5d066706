"""Messages of the rejected topic: refused records, each with the reason and the place that it came from."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Protocol

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.serializer import Serializer

from contract.errors import DependencyError
from contract.messages import IMAGE_SIZE_BYTES_MAX, MESSAGE_SIZE_BYTES_MAX, Headers, Rejection
from contract.settings import Settings
from topics.clients import CONNECT_TIMEOUT_S, close_producer, connect

DELIVERY_TIMEOUT_S = 30.0
# A compressed batch may bring keys and headers that are larger than any message of ours can be.
KEY_SIZE_BYTES_MAX = 64 * 1024
HEADERS_SIZE_BYTES_MAX = 2 * 1024 * 1024
CUT_HEADER = "lookalike-cut"
NO_KEY = object()


class KeySerializer(Serializer):  # type: ignore[misc]
    """Lets `NO_KEY` stand for no key: kafka-python refuses a record without key and value, but only looks before this."""

    def serialize(self, topic: str, headers: object, data: bytes | object) -> bytes | None:  # noqa: ARG002
        """The key's bytes as they are."""
        return data if isinstance(data, bytes) else None


class Message(Protocol):
    """What a record carried."""

    @property
    def key(self) -> bytes | None:
        """The image's id in UTF-8; None when the record named none."""

    @property
    def value(self) -> bytes | None:
        """The encoded image; None deletes."""

    @property
    def headers(self) -> Headers:
        """Name and value of each header."""


class Publisher:
    """Publishes to one topic, and returns when Kafka has confirmed. Not thread-safe."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings = settings
        self._topic = topic
        self._producer: KafkaProducer | None = None

    def publish(self, messages: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
        """Publish messages, given by their key, value and headers, and return partition and offset of each.

        Raises:
            DependencyError: Kafka did not confirm all of them; publishing them again may repeat some.
        """
        try:
            if self._producer is None:
                self._producer = _open(self._settings)
            sent = [
                self._producer.send(
                    self._topic, value=m["value"], key=NO_KEY if m["key"] is None else m["key"], headers=m["headers"]
                )
                for m in messages
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


def rejected_message(message: Message, rejection: Rejection) -> dict[str, Any]:
    """Key, value and headers of a refused record, with why it was refused in further headers.

    What would not fit into a message is cut, and the header `lookalike-cut` names it: a value over 32 MiB becomes JSON with
    its size and SHA-256, a key over 64 KiB is shortened, headers over 2 MiB are left out. A header's null value becomes an
    empty one, since kafka-python sends no other.
    """
    key, value = message.key, message.value
    headers = [(name, content or b"") for name, content in message.headers]
    cut = []
    if key is not None and len(key) > KEY_SIZE_BYTES_MAX:
        cut.append("key")
        key = key[:KEY_SIZE_BYTES_MAX]
    if value is not None and len(value) > IMAGE_SIZE_BYTES_MAX:
        cut.append("value")
        value = json.dumps({"size_bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}).encode()
    if sum(len(name) + len(content) for name, content in headers) > HEADERS_SIZE_BYTES_MAX:
        cut.append("headers")
        headers = []
    why = [*rejection.headers(), *([(CUT_HEADER, ",".join(cut).encode())] if cut else [])]
    return {"key": key, "value": value, "headers": [*headers, *why]}


def _open(settings: Settings) -> KafkaProducer:
    producer, _ = connect(
        KafkaProducer,
        settings,
        connect_timeout_s=CONNECT_TIMEOUT_S,
        client_id="lookalike-rejected",
        key_serializer=KeySerializer(),
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
