"""The rejected topic: how a refused record is written to it, and how its messages are read.

Each message is a refused record as it was, with why it was refused and where it stood in further headers.
"""

import hashlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError
from contract.messages import IMAGE_SIZE_BYTES_MAX, REJECTION_HEADER_PREFIX, Headers, Rejection
from contract.record_key import RecordKey
from contract.settings import Settings
from topics.batch_publisher import Message
from topics.clients import CONNECT_TIMEOUT_S, open_reader
from topics.polling import STILL_S_MAX, polled_to
from topics.versions import check_version, version_header

# A compressed batch may bring keys and headers that are larger than any message of ours can be.
KEY_SIZE_BYTES_MAX = 64 * 1024
HEADERS_SIZE_BYTES_MAX = 2 * 1024 * 1024
CUT_HEADER = f"{REJECTION_HEADER_PREFIX}cut"

NEWEST_MAX = 50
# A request waits for this long; what is not read by then is read for the next one.
_NEWEST_CONNECT_TIMEOUT_S = 2.0
_NEWEST_S_MAX = 5.0
# A refused image may have 32 MiB; the consumer holds no more than one such of each partition.
_NEWEST_FETCH_SIZE_BYTES_MAX = 1024 * 1024
_POLL_RECORDS_MAX = 64


class Original(Protocol):
    """What a refused record carried."""

    @property
    def key(self) -> bytes | None:
        """Names the image; null without one."""

    @property
    def value(self) -> bytes | None:
        """The image's file; null deletes."""

    @property
    def headers(self) -> Headers:
        """Those that its producer sent."""


@dataclass(frozen=True, kw_only=True)
class RejectedMessage:
    """One message of the rejected topic.

    Attributes:
        time_ms: when the record was refused, by Kafka's clock.
        key, value, headers: of the refused record, without the headers that say why it was refused.
        size_bytes: of the value; None of a null value.
        cut: what was not kept because it was too large: "", or some of ``key,value,headers``.
    """

    rejection: Rejection
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    size_bytes: int | None
    cut: str

    @property
    def key_text(self) -> str | None:
        """The key for people to read, its first 300 characters."""
        return None if self.key is None else self.key.decode("utf-8", "backslashreplace")[:300]


def rejected_message(original: Original, rejection: Rejection) -> Message:
    """What is published of a refused record.

    What would not fit into a message is cut, and the header `lookalike-cut` names it: a value over 32 MiB becomes JSON with
    its size and SHA-256, a key over 64 KiB is shortened, headers over 2 MiB are left out. A header's null value becomes an
    empty one, since kafka-python sends no other.
    """
    key, value = original.key, original.value
    headers = [(name, content or b"") for name, content in original.headers]
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
    why = [*rejection.headers(), version_header(), *([(CUT_HEADER, ",".join(cut).encode())] if cut else [])]
    return Message(key=key, value=value, headers=[*headers, *why])


def parse_rejected(record: Any) -> RejectedMessage | None:
    """What a record of the rejected topic says; None when no embedder wrote it.

    Raises:
        NewerVersionError: an embedder of a newer version wrote it.
    """
    check_version(record)
    headers: list[tuple[str, bytes | None]] = list(record.headers)
    try:
        rejection = Rejection.from_headers(headers)
    except ValueError:
        return None
    return RejectedMessage(
        rejection=rejection,
        time_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=[(name, value) for name, value in headers if not name.startswith(REJECTION_HEADER_PREFIX)],
        size_bytes=None if record.value is None else len(record.value),
        cut=next(((value or b"").decode("utf-8", "replace") for name, value in headers if name == CUT_HEADER), ""),
    )


def read_rejected(settings: Settings) -> Iterator[RejectedMessage]:
    """Every message up to now, oldest first within a partition, repeats left out.

    Raises:
        ConfigurationError: the rejected topic does not exist.
        DependencyError: Kafka did not answer, or a newer version wrote the next message.
    """
    consumer = open_reader(settings, connect_timeout_s=CONNECT_TIMEOUT_S, client_id="lookalike-rejected")
    seen = set()
    try:
        consumer.seek_to_beginning(*_assign(consumer, settings.rejected_topic))
        for message in itertools.chain.from_iterable(_messages_to_end(consumer, still_s_max=STILL_S_MAX)):
            if message.rejection.key not in seen:
                seen.add(message.rejection.key)
                yield message
    except KafkaError as error:
        raise DependencyError("kafka", f"reading {settings.rejected_topic} failed: {error}") from error
    finally:
        consumer.close()


class NewestRejected:
    """Follows the newest messages, on demand: each is fetched once, and the last ones are kept.

    Called from any thread.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._read_s = clock()
        self._consumer: KafkaConsumer | None = None
        self._reading = threading.Lock()
        self._kept: dict[RecordKey, RejectedMessage] = {}

    def read(self) -> tuple[list[RejectedMessage], bool]:
        """The last 50 messages, newest first, and whether nothing is missing: Kafka may be away.

        Their values and headers, which may have 34 MiB, are not kept.
        """
        self._read_s = self._clock()
        with self._reading:
            try:
                is_complete = self._read_on()
            except (KafkaError, DependencyError, ConfigurationError, OSError):
                self._close()
                is_complete = False
            return sorted(self._kept.values(), key=_time_ms, reverse=True), is_complete

    def is_idle(self, idle_s: float) -> bool:
        """Whether it holds on to Kafka and nobody has read for so long."""
        return self._consumer is not None and self._clock() - self._read_s > idle_s

    def close(self) -> None:
        """Let go of Kafka; what was read is kept, and the next reader connects again."""
        with self._reading:
            self._close()

    def _read_on(self) -> bool:
        """Whether it came to the end, or else ran out of time."""
        if self._consumer is None:
            self._consumer = self._open()
        began_s = self._clock()
        for messages in _messages_to_end(self._consumer, still_s_max=_NEWEST_S_MAX):
            for message in messages:
                self._kept.setdefault(message.rejection.key, replace(message, value=None, headers=()))
            newest = sorted(self._kept.values(), key=_time_ms)[-NEWEST_MAX:]
            self._kept = {message.rejection.key: message for message in newest}
            if self._clock() - began_s > _NEWEST_S_MAX:
                return False
        return True

    def _open(self) -> KafkaConsumer:
        consumer = open_reader(
            self._settings,
            connect_timeout_s=_NEWEST_CONNECT_TIMEOUT_S,
            client_id="lookalike-api-rejected",
            fetch_max_bytes=_NEWEST_FETCH_SIZE_BYTES_MAX,
            max_partition_fetch_bytes=_NEWEST_FETCH_SIZE_BYTES_MAX,
        )
        try:
            partitions = _assign(consumer, self._settings.rejected_topic)
            starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
            for partition in partitions:
                consumer.seek(partition, max(starts[partition], ends[partition] - NEWEST_MAX))
        except BaseException:
            consumer.close(timeout_ms=500)
            raise
        return consumer

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close(timeout_ms=500)
            self._consumer = None


def _assign(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    """Let the consumer read all partitions of the topic, and return them."""
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        raise ConfigurationError(f"Topic {topic} does not exist. Create it: `python -m producers topics`.")
    partitions = [TopicPartition(topic, number) for number in sorted(numbers)]
    consumer.assign(partitions)
    return partitions


def _messages_to_end(consumer: KafkaConsumer, *, still_s_max: float) -> Iterator[Iterator[RejectedMessage]]:
    """The messages from where the consumer stands to where the topic ends now, as each poll brings them.

    Raises: as `polled_to`.
    """
    ends = consumer.end_offsets(list(consumer.assignment()))
    for records in polled_to(consumer, ends, records_max=_POLL_RECORDS_MAX, still_s_max=still_s_max):
        yield (message for record in records if (message := parse_rejected(record)) is not None)


def _time_ms(message: RejectedMessage) -> int:
    return message.time_ms
