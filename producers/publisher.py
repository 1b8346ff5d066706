"""Publishes images and deletes, and says exactly what Kafka has confirmed."""

import hashlib
import json
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError

from contract.clients import CONNECT_TIMEOUT_S, connect
from contract.errors import DependencyError, RejectedError
from contract.messages import MESSAGE_SIZE_BYTES_MAX, check_image_id, check_value, log_of, metadata_of
from contract.settings import Settings

# kafka-python's own buffer has no limit. A small image costs about 2 KiB in objects beside its bytes, so this is at most
# 32,000 images on their way.
_UNCONFIRMED_BYTES_MAX = 64 * 1024 * 1024
_OVERHEAD_BYTES = 2 * 1024


@dataclass(frozen=True)
class Confirmation:
    """Where Kafka stored one record; (log, partition, offset) names it for ever."""

    image_id: str
    log: str
    partition: int
    offset: int

    @property
    def min_offsets(self) -> str:
        """For `POST /v1/search?min_offsets=`: answer only once this record has taken effect."""
        return f"{self.partition}:{self.offset + 1}"


class ImagePublisher:
    """Puts images on the topic and deletes them. Safe to share between threads.

    Example:
        with ImagePublisher(load_settings()) as publisher:
            print(publisher.put(Path("cat.jpg").read_bytes(), image_id="cat").result().min_offsets)

    Args:
        settings: names the brokers and the topic.
        connect_timeout_s: how long the constructor, and later a call that needs to know the topic anew, may take.
        delivery_timeout_s: how long Kafka may take to confirm a record, including all retries, before its future fails.

    Raises:
        DependencyError: no broker answers, or the topic does not exist.
    """

    def __init__(
        self, settings: Settings, *, connect_timeout_s: float = CONNECT_TIMEOUT_S, delivery_timeout_s: float = 30.0
    ) -> None:
        self._topic = settings.kafka_topic
        self._delivery_timeout_s = delivery_timeout_s
        self._settled = threading.Condition()
        self._unconfirmed = 0
        self._unconfirmed_bytes = 0
        self._last_log = ""
        self._producer, self._cluster = connect(
            KafkaProducer,
            settings,
            connect_timeout_s=connect_timeout_s,
            client_id="lookalike-publisher",
            acks="all",
            enable_idempotence=True,
            linger_ms=10,
            batch_size=256 * 1024,
            max_request_size=MESSAGE_SIZE_BYTES_MAX,
            max_block_ms=round(connect_timeout_s * 1000),
            # The producer demands more time for delivery than for one request with its linger.
            request_timeout_ms=round(min(10.0, 0.9 * delivery_timeout_s) * 1000),
            delivery_timeout_ms=round(delivery_timeout_s * 1000),
            allow_auto_create_topics=False,
            # A topic that was deleted and created again is noticed within this time.
            metadata_max_age_ms=10_000,
        )
        try:
            self._producer.partitions_for(self._topic)
        except KafkaError as error:
            self.close(timeout_s=0.1)
            raise DependencyError(
                "kafka", f"Topic {self._topic} cannot be found ({error}). Create it: `python -m producers topics`."
            ) from error

    @property
    def log(self) -> str:
        """The log that records go to, as Kafka told last."""
        topic_id = self._cluster.topic_id(self._topic)
        if topic_id is not None:  # It is unknown for a moment after the topic was deleted.
            self._last_log = log_of(self._topic, topic_id)
        return self._last_log

    def put(
        self, value: bytes, *, image_id: str | None = None, metadata: Mapping[str, object] | str | None = None
    ) -> Future[Confirmation]:
        """Publish an image; an image that has the same id already is replaced.

        Args:
            value: a PNG, JPEG or WebP file as it is.
            image_id: 1 to 256 bytes of UTF-8; without one the record has no key, and the id is the SHA-256 of `value`.
            metadata: a JSON object, or its text; shown beside the image.

        Returns:
            A future that holds the confirmation, or fails with DependencyError: then the image may or may not arrive, and
            publishing it again does no harm.

        Raises:
            RejectedError: the image, its id or its metadata would be refused by every reader.
            DependencyError: Kafka takes no more.
        """
        check_value(value)
        headers = [] if metadata is None else [("metadata", _metadata_bytes(metadata))]
        if image_id is None:
            return self._send(hashlib.sha256(value).hexdigest(), value, None, headers)
        return self._send(image_id, value, check_image_id(image_id).encode(), headers)

    def delete(self, image_id: str) -> Future[Confirmation]:
        """Publish that an image is gone; deleting what does not exist is fine.

        Raises:
            RejectedError: the id could not name an image.
            DependencyError: Kafka takes no more.
        """
        return self._send(image_id, None, check_image_id(image_id).encode(), [])

    def flush(self, timeout_s: float) -> None:
        """Wait until everything published so far is settled, and every future is done.

        Raises:
            DependencyError: some records are still unconfirmed after `timeout_s`.
        """
        with self._settled:
            if not self._settled.wait_for(lambda: self._unconfirmed == 0, timeout_s):
                raise DependencyError(
                    "kafka",
                    f"{self._unconfirmed} records were not confirmed within {timeout_s:g} s; they may still be.",
                )

    def close(self, timeout_s: float = 10.0) -> None:
        """Let go of Kafka after at most `timeout_s`; the futures of what was not confirmed fail."""
        try:
            self._producer.close(timeout_s)
        except KafkaTimeoutError:
            pass  # Its thread goes on until the delivery timeout, and settles each future then.

    def __enter__(self) -> "ImagePublisher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all confirmations, then close.

        Raises:
            DependencyError: some are missing.
        """
        try:
            if kind is None:
                self.flush(self._delivery_timeout_s)
        finally:
            self.close()

    def _send(
        self, image_id: str, value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes]]
    ) -> Future[Confirmation]:
        future: Future[Confirmation] = Future()
        future.set_running_or_notify_cancel()  # A record that was handed to Kafka cannot be called back.
        size_bytes = _OVERHEAD_BYTES + len(value or b"")
        self._take_room(size_bytes)
        try:
            sent = self._producer.send(self._topic, value=value, key=key, headers=headers)
        except (KafkaError, ValueError) as error:  # ValueError: the topic vanished between two looks at the cluster.
            self._give_room(size_bytes)
            raise _unconfirmed(self._topic, image_id, error) from error

        def confirm(stored: Any) -> None:
            if stored.offset < 0:  # A retry of something that Kafka stored long ago: it no longer tells where.
                future.set_exception(DependencyError("kafka", f"Kafka did not say where it stored {image_id!r}."))
            else:
                future.set_result(Confirmation(image_id, self.log, stored.partition, stored.offset))
            self._give_room(size_bytes)

        def fail(error: Exception) -> None:
            future.set_exception(_unconfirmed(self._topic, image_id, error))
            self._give_room(size_bytes)

        sent.add_callback(confirm)
        sent.add_errback(fail)
        return future

    def _take_room(self, size_bytes: int) -> None:
        def has_room() -> bool:
            return self._unconfirmed == 0 or self._unconfirmed_bytes + size_bytes <= _UNCONFIRMED_BYTES_MAX

        with self._settled:
            if not self._settled.wait_for(has_room, self._delivery_timeout_s):
                raise DependencyError(
                    "kafka", f"{self._unconfirmed} records wait for confirmation since {self._delivery_timeout_s:g} s."
                )
            self._unconfirmed += 1
            self._unconfirmed_bytes += size_bytes

    def _give_room(self, size_bytes: int) -> None:
        with self._settled:
            self._unconfirmed -= 1
            self._unconfirmed_bytes -= size_bytes
            self._settled.notify_all()


def _metadata_bytes(metadata: Mapping[str, object] | str) -> bytes:
    try:
        text = (
            metadata if isinstance(metadata, str) else json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
        )
        raw = text.encode()
    except (TypeError, ValueError) as error:
        raise RejectedError("bad-metadata", f"metadata cannot be written as JSON: {error}.") from error
    return metadata_of([("metadata", raw)]).encode()


def _unconfirmed(topic: str, image_id: str, error: Exception) -> DependencyError:
    remedy = ""
    if isinstance(error, MessageSizeTooLargeError):
        remedy = f" The topic {topic} takes smaller messages than expected: `python -m producers topics` sets it right."
    return DependencyError("kafka", f"{image_id!r} was not confirmed: {type(error).__name__}: {error}.{remedy}")
