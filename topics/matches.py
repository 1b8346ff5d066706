"""The topic of matches: what matched a watch, as the watcher publishes it and as everybody else reads it.

It has one partition, so its offsets number the matches in the order in which they were found.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError, NewerVersionError
from contract.record_key import RecordKey
from contract.settings import Settings
from topics.batch_publisher import BatchPublisher, Message
from topics.clients import CONNECT_TIMEOUT_S, open_reader
from topics.polling import STILL_S_MAX, polled_to
from topics.versions import check_version, version_header

NEWEST_MATCHES_MAX = 10_000
_POLL_RECORDS_MAX = 2000
# A request waits for this long.
_STILL_S_MAX = 4.0


class MatchSource(msgspec.Struct, frozen=True):
    """The Kafka record that brought the image; `timestamp` is Kafka's time of it, milliseconds since 1970."""

    log: str
    partition: int
    offset: int
    timestamp: int


class WatchMatch(msgspec.Struct, frozen=True):
    """An image that matched a watch.

    Attributes:
        id: of this match: the same whenever it is told again.
        watch, name: the watch's id and name.
        image: the image's id.
        verdict: as a search with `explain` gives it; null where the watch has no image or it could not be had.
        created_at: when it was found, milliseconds since 1970.
    """

    id: str
    watch: str
    name: str
    collection: str
    image: str
    distance: float
    source: MatchSource
    verdict: str | None
    created_at: int


class NumberedMatch(NamedTuple):
    """A match and its offset in the topic."""

    offset: int
    match: WatchMatch


def match_id(watch: str, key: RecordKey) -> str:
    """What identifies a match, however often it is told."""
    return hashlib.sha256(f"{watch}:{key.log}:{key.partition}:{key.offset}".encode()).hexdigest()[:32]


class MatchPublisher:
    """Publishes matches; connects at the first. Not thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._publisher = BatchPublisher(settings, settings.matches_topic)

    def publish(self, matches: Sequence[WatchMatch]) -> list[int]:
        """Publish matches in order, and return the offset of each; what is returned is durable.

        Raises:
            DependencyError: Kafka did not confirm all of them; publishing them again may repeat some.
        """
        messages = [
            Message(key=m.watch.encode(), value=msgspec.json.encode(m), headers=[version_header()]) for m in matches
        ]
        return [offset for _, offset in self._publisher.publish(messages)]

    def close(self) -> None:
        """Close the connection."""
        self._publisher.close()


class MatchReader:
    """Reads the topic from an offset on. Not thread-safe.

    Raises:
        ConfigurationError: the topic does not exist.
        DependencyError: Kafka did not answer.
    """

    def __init__(self, settings: Settings, client_id: str) -> None:
        self._place = TopicPartition(settings.matches_topic, 0)
        self._consumer: KafkaConsumer = open_reader(settings, connect_timeout_s=CONNECT_TIMEOUT_S, client_id=client_id)
        try:
            partitions = self._asked(lambda: self._consumer.partitions_for_topic(self._place.topic))
            if partitions != {0}:
                raise ConfigurationError(
                    f"Topic {self._place.topic} has the partitions {sorted(partitions or ())}, expected one, 0. Delete it if it "
                    "is there, and create it: `python -m producers topics`."
                )
            self._consumer.assign([self._place])
            self.seek(0)
        except BaseException:
            self.close()
            raise

    @property
    def next_offset(self) -> int:
        """Where the next read begins."""
        return int(self._asked(lambda: self._consumer.position(self._place)))

    def end_offset(self) -> int:
        """Behind the last match."""
        return int(self._asked(lambda: self._consumer.end_offsets([self._place]))[self._place])

    def seek(self, offset: int) -> None:
        """Read on from here, or from the first match that Kafka still holds."""
        first = self._asked(lambda: self._consumer.beginning_offsets([self._place]))[self._place]
        self._asked(lambda: self._consumer.seek(self._place, max(first, min(offset, self.end_offset()))))

    def read_to(self, end: int, *, still_s_max: float = STILL_S_MAX) -> Iterator[NumberedMatch]:
        """The matches that follow, up to an offset, or up to one that a newer version wrote.

        Raises:
            NewerVersionError: the next one is such.
            DependencyError: Kafka failed, or nothing came for `still_s_max` seconds.
        """
        polls = polled_to(self._consumer, {self._place: end}, records_max=_POLL_RECORDS_MAX, still_s_max=still_s_max)
        while (records := self._asked(lambda: next(polls, None))) is not None:
            for record in records:
                try:
                    match = parse_match(record)
                except NewerVersionError:
                    self._consumer.seek(self._place, record.offset)
                    raise
                if match is not None:
                    yield match

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close(timeout_ms=500)

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (KafkaError, OSError, AssertionError) as error:
            raise DependencyError("kafka", f"reading {self._place.topic} failed: {error}") from error


def parse_match(record: Any) -> NumberedMatch | None:
    """What a record of the topic says; None when no watcher wrote it.

    Raises:
        NewerVersionError: a newer version wrote it.
    """
    check_version(record)
    try:
        return NumberedMatch(record.offset, msgspec.json.decode(record.value or b"", type=WatchMatch))
    except msgspec.DecodeError:
        return None


class NewestMatches:
    """Follows the newest matches of a collection, on demand: each is fetched once, and the last 10,000 are kept.

    Called from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader: MatchReader | None = None
        self._reading = threading.Lock()
        self._kept: deque[NumberedMatch] = deque(maxlen=NEWEST_MATCHES_MAX)
        self._next_offset = 0

    def read(self) -> tuple[list[NumberedMatch], int, bool]:
        """The last matches, oldest first; the offset at which the next one will stand; whether nothing is missing."""
        with self._reading:
            try:
                self._read_on()
                is_complete = True
            except (DependencyError, ConfigurationError):
                self._close()
                is_complete = False
            return list(self._kept), self._next_offset, is_complete

    def close(self) -> None:
        """Let go of Kafka."""
        with self._reading:
            self._close()

    def _read_on(self) -> None:
        if self._reader is None:
            self._reader = MatchReader(self._settings, "lookalike-api-matches")
            self._kept.clear()
            self._reader.seek(self._reader.end_offset() - NEWEST_MATCHES_MAX)
        end = self._reader.end_offset()
        if end - self._reader.next_offset > NEWEST_MATCHES_MAX:
            self._reader.seek(end - NEWEST_MATCHES_MAX)
        for numbered in self._reader.read_to(end, still_s_max=_STILL_S_MAX):
            self._kept.append(numbered)
            self._next_offset = numbered.offset + 1
        self._next_offset = self._reader.next_offset

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
