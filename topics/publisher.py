"""Publishes images and deletes, and says exactly what Kafka has confirmed."""

import hashlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError

from contract.errors import DependencyError
from contract.messages import MESSAGE_SIZE_BYTES_MAX, check_image_id, check_value, log_of, metadata_bytes
from contract.origin import UNKNOWN_ORIGIN, Origin
from contract.settings import Settings
from runtime.failpoints import failpoint
from topics.clients import CONNECT_TIMEOUT_S, REQUEST_TIMEOUT_S, close_producer, connect
from topics.followed import followed

# kafka-python's own buffer has no limit. A small image costs about 2 KiB in objects beside its bytes, so this is at most
# 32,000 images on their way.
_BUFFERED_BYTES_MAX = 64 * 1024 * 1024
_OVERHEAD_BYTES = 2 * 1024
# kafka-python 3.0.12 hangs for good once a record of an idempotent producer has reached its delivery timeout, so it gets one
# that never passes, and the deadlines are kept here.
_CLIENT_DELIVERY_TIMEOUT_MS = 24 * 3_600_000


@dataclass(frozen=True, kw_only=True)
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


@dataclass(frozen=True)
class _Sending:
    """A record on its way, and until when its caller is content to wait, by the publisher's clock."""

    image_id: str
    deadline_s: float
    future: Future[Confirmation]


class ImagePublisher:
    """Puts images on the topic and deletes them. Safe to share between threads.

    Example:
        with ImagePublisher(load_settings()) as publisher:
            print(publisher.put(Path("cat.jpg").read_bytes(), image_id="cat").result().min_offsets)

    Args:
        settings: names the brokers and the topic.
        connect_timeout_s: how long the constructor, and later a call that needs to know the topic anew, may take.
        delivery_timeout_s: how long Kafka may take to confirm a record, including all retries, before its future fails.
        clock: tells seconds, for these deadlines.

    Raises:
        DependencyError: no broker answers, or the topic does not exist.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        delivery_timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = settings.kafka_topic
        self._delivery_timeout_s = delivery_timeout_s
        self._clock = clock
        self._changed = threading.Condition()
        self._sendings: dict[int, _Sending] = {}  # Oldest first.
        self._numbers = itertools.count()
        self._unsettled = 0
        self._buffered_bytes = 0
        self._is_closed = threading.Event()
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
            request_timeout_ms=round(REQUEST_TIMEOUT_S * 1000),
            delivery_timeout_ms=_CLIENT_DELIVERY_TIMEOUT_MS,
            allow_auto_create_topics=False,
            # A topic that was deleted and created again is noticed within this time; confirmations name the old log until then.
            metadata_max_age_ms=2_000,
        )
        try:
            self._producer.partitions_for(self._topic)
        except KafkaError as error:
            self.close(timeout_s=0.1)
            raise DependencyError(
                "kafka",
                f"Topic {self._topic} cannot be found ({error}). Create it: `python -m producers topics`, or a "
                "collection with its topic: `lookalike collections create NAME --encoder ENCODER`.",
            ) from error
        threading.Thread(target=self._watch_deadlines, name="image-publisher-deadlines", daemon=True).start()

    @property
    def log(self) -> str:
        """The log that records go to, as Kafka told last."""
        topic_id = self._cluster.topic_id(self._topic)
        if topic_id is not None:  # It is unknown for a moment after the topic was deleted.
            self._last_log = log_of(self._topic, topic_id)
        return self._last_log

    def put(
        self,
        value: bytes,
        *,
        image_id: str | None = None,
        metadata: Mapping[str, object] | str | None = None,
        origin: Origin = UNKNOWN_ORIGIN,
    ) -> Future[Confirmation]:
        """Publish an image; an image that has the same id already is replaced.

        Args:
            value: a picture's file as it is, in a format of `contract.formats`.
            image_id: 1 to 256 bytes of UTF-8; without one the record has no key, and the id is the SHA-256 of `value`.
            metadata: a JSON object, or its text; shown beside the image.
            origin: told in the logs of all parts that meet the image.

        Returns:
            A future that holds the confirmation, or fails with DependencyError: then the image may or may not arrive, and
            publishing it again does no harm.

        Raises:
            RejectedError: the image, its id or its metadata would be refused by every reader.
            DependencyError: Kafka takes no more.
        """
        key = None if image_id is None else check_image_id(image_id).encode()
        check_value(value)
        headers = [] if metadata is None else [("metadata", metadata_bytes(metadata))]
        return self._send(
            image_id or hashlib.sha256(value).hexdigest(), key=key, value=value, headers=headers, origin=origin
        )

    def delete(self, image_id: str, *, origin: Origin = UNKNOWN_ORIGIN) -> Future[Confirmation]:
        """Publish that an image is gone; deleting what does not exist is fine.

        Raises:
            RejectedError: the id could not name an image.
            DependencyError: Kafka takes no more.
        """
        return self._send(image_id, key=check_image_id(image_id).encode(), value=None, headers=[], origin=origin)

    def flush(self, timeout_s: float) -> None:
        """Wait until everything published so far is settled, and every future is done.

        Raises:
            DependencyError: some records are still unconfirmed after `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._unsettled == 0, timeout_s):
                raise DependencyError(
                    "kafka", f"{self._unsettled} records were not confirmed within {timeout_s:g} s; they may still be."
                )

    def close(self, timeout_s: float = 10.0) -> None:
        """Let go of Kafka after at most about `timeout_s`; the futures of what was not confirmed fail."""
        close_producer(self._producer, timeout_s)
        self._is_closed.set()
        self._expire(math.inf)

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
        self, image_id: str, *, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]], origin: Origin
    ) -> Future[Confirmation]:
        size_bytes = _OVERHEAD_BYTES + len(value or b"")
        number, future = self._begin(image_id, size_bytes)
        headers = followed(future, origin).headers() + headers
        failpoint("publisher-before-send")
        try:
            sent = self._producer.send(self._topic, value=value, key=key, headers=headers)
        except (KafkaError, ValueError) as error:  # ValueError: the topic vanished between two looks at the cluster.
            refused = _unconfirmed(image_id, error, topic=self._topic)
            self._end(number, size_bytes, refused)
            raise refused from error

        failpoint("publisher-after-send")

        def confirm(stored: Any) -> None:
            failpoint("publisher-after-confirmation")
            if stored.offset < 0:  # A retry of something that Kafka stored long ago: it no longer tells where.
                self._end(
                    number, size_bytes, DependencyError("kafka", f"Kafka did not say where it stored {image_id!r}.")
                )
            else:
                confirmed = Confirmation(
                    image_id=image_id, log=self.log, partition=stored.partition, offset=stored.offset
                )
                self._end(number, size_bytes, confirmed)

        sent.add_callback(confirm)
        sent.add_errback(lambda error: self._end(number, size_bytes, _unconfirmed(image_id, error, topic=self._topic)))
        return future

    def _begin(self, image_id: str, size_bytes: int) -> tuple[int, Future[Confirmation]]:
        """Wait for room in the client's buffer, and note a record that is to be settled."""

        def has_room() -> bool:
            return self._buffered_bytes == 0 or self._buffered_bytes + size_bytes <= _BUFFERED_BYTES_MAX

        future: Future[Confirmation] = Future()
        future.set_running_or_notify_cancel()  # A record that was handed to Kafka cannot be called back.
        with self._changed:
            if not self._changed.wait_for(has_room, self._delivery_timeout_s):
                raise DependencyError(
                    "kafka", f"It has confirmed nothing for {self._delivery_timeout_s:g} s, and the buffer is full."
                )
            number = next(self._numbers)
            self._sendings[number] = _Sending(image_id, self._clock() + self._delivery_timeout_s, future)
            self._unsettled += 1
            self._buffered_bytes += size_bytes
        return number, future

    def _end(self, number: int, size_bytes: int, outcome: Confirmation | DependencyError) -> None:
        """The client has let go of a record."""
        with self._changed:
            self._buffered_bytes -= size_bytes
            self._changed.notify_all()
        self._settle(number, outcome)

    def _settle(self, number: int, outcome: Confirmation | DependencyError) -> None:
        """Tell the caller, unless he was told before that the deadline had passed."""
        with self._changed:
            sending = self._sendings.pop(number, None)
        if sending is None:
            return
        if isinstance(outcome, Confirmation):
            sending.future.set_result(outcome)
        else:
            sending.future.set_exception(outcome)
        # Only now: whoever waits in `flush` expects that the future's callbacks have run.
        with self._changed:
            self._unsettled -= 1
            self._changed.notify_all()

    def _watch_deadlines(self) -> None:
        while not self._is_closed.wait(min(1.0, self._delivery_timeout_s / 4)):
            self._expire(self._clock())

    def _expire(self, now_s: float) -> None:
        """Fail what should have been confirmed by now; the client still holds it, and it may arrive later."""
        with self._changed:
            late = list(itertools.takewhile(lambda pair: pair[1].deadline_s <= now_s, self._sendings.items()))
        for number, sending in late:
            detail = f"{sending.image_id!r} was not confirmed in time; it may still arrive."
            self._settle(number, DependencyError("kafka", detail))


def _unconfirmed(image_id: str, error: Exception, *, topic: str) -> DependencyError:
    remedy = ""
    if isinstance(error, MessageSizeTooLargeError):
        remedy = f" The topic {topic} takes smaller messages than expected: `python -m producers topics` sets it right."
    return DependencyError("kafka", f"{image_id!r} was not confirmed: {type(error).__name__}: {error}.{remedy}")
