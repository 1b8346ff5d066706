"""Reads records of the topic again, by their offsets, and derives from them what became of each, as the embedder does."""

from collections.abc import Sequence

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError
from contract.settings import Settings
from model.pictures.decoder import Decoder
from topics.clients import CONNECT_TIMEOUT_S, open_reader
from topics.polling import polled_to
from workers.embedder.outcomes import Judged, judge
from workers.embedder.records import Record, reached_from

# What is in memory at once: so many bytes, or a single record that has more.
PIECE_SIZE_BYTES_MAX = 8 * 1024 * 1024
_FETCH_SIZE_BYTES_MAX = 512 * 1024


class TopicPieces:
    """Reads pieces of the topic of images, in any order. Connects at the first question. Not thread-safe.

    Every method raises DependencyError when Kafka fails it, and ConfigurationError when there is no such topic.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: KafkaConsumer | None = None

    def offsets(self) -> dict[int, tuple[int, int]]:
        """By partition, the first offset that Kafka holds, and the end: behind the last record that is committed."""
        try:
            consumer = self._opened()
            numbers = consumer.partitions_for_topic(self._settings.kafka_topic)
            if not numbers:
                raise ConfigurationError(f"Topic {self._settings.kafka_topic} does not exist.")
            places = [TopicPartition(self._settings.kafka_topic, number) for number in sorted(numbers)]
            firsts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        except (KafkaError, OSError) as error:
            raise self._failed("asking for offsets", error) from error
        return {place.partition: (firsts[place], ends[place]) for place in places}

    def read(self, partition: int, start: int, end: int) -> tuple[list[Record], int]:
        """The records of a partition from `start` on, below `end`, and up to where: `end`, unless they are too large together.

        `end` must not lie behind the end that `offsets` tells.
        """
        place = TopicPartition(self._settings.kafka_topic, partition)
        found: list[Record] = []
        size_bytes, reached = 0, start
        try:
            consumer = self._opened()
            consumer.assign([place])
            consumer.seek(place, start)
            for polled in polled_to(consumer, {place: end}, records_max=64):
                for record in reached_from(reached, (each for each in polled if each.offset < end)):
                    size_bytes += record.size_bytes
                    if found and size_bytes > PIECE_SIZE_BYTES_MAX:
                        return found, found[-1].offset + 1
                    found.append(record)
                    reached = record.offset + 1
        except (KafkaError, OSError) as error:
            raise self._failed("reading", error) from error
        return found, end

    def close(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            self._consumer.close(timeout_ms=500)
            self._consumer = None

    def _opened(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = open_reader(
                self._settings,
                connect_timeout_s=CONNECT_TIMEOUT_S,
                client_id="lookalike-audit",
                fetch_max_bytes=_FETCH_SIZE_BYTES_MAX,
                max_partition_fetch_bytes=_FETCH_SIZE_BYTES_MAX,
            )
        return self._consumer

    def _failed(self, doing: str, error: Exception) -> DependencyError:
        self.close()
        return DependencyError("kafka", f"{doing} {self._settings.kafka_topic} failed: {error}")


def derive(records: Sequence[Record], decoder: Decoder) -> list[Judged]:
    """What becomes of each record, in their order.

    Raises:
        DependencyError: no decoder can be started.
    """
    judged = [judge(record) for record in records]
    places = [place for place, found in enumerate(judged) if found.outcome == "put"]
    answer = decoder.decode([records[place].value or b"" for place in places]) if places else None
    for place, decoded in zip(places, answer.images if answer else [], strict=True):
        judged[place] = judged[place].with_decoded(decoded)
    return judged
