"""A record as it was fetched, and stretches of records that travel together."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from contract.errors import ConfigurationError
from contract.messages import Headers

# What Kafka calls message.timestamp.type=LogAppendTime, in a record.
LOG_APPEND_TIME = 1
STRETCH_RECORDS_MAX = 128
STRETCH_SIZE_BYTES_MAX = 4 * 1024 * 1024
# What a record costs beside its bytes where shares are measured: much more than its objects take in memory, so that few
# thousand small images wait at once, not all that fit into a share. A change of the group has what waits fetched again.
RECORD_BYTES = 8 * 1024


class Record(NamedTuple):
    """A fetched record: made once by the consumer, and the same value until its feed row is written.

    Attributes:
        after: position from which it was fetched: no committed record lies in [after, offset).
        is_expired: Kafka may have expired records in [after, offset).
        is_gap: there is no record at `offset` either. The consumer's position stepped over transaction markers, aborted or
            compacted records, or what Kafka had expired, and nothing has followed yet.
        kafka_time_ms: its LogAppendTime, milliseconds since 1970; 0 of a gap.
    """

    partition: int
    offset: int
    after: int
    kafka_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    is_expired: bool = False
    is_gap: bool = False

    @property
    def size_bytes(self) -> int:
        """Of key and value."""
        return len(self.key or b"") + len(self.value or b"")


class Stretch(NamedTuple):
    """Records of one partition that were fetched together, in order, at least one.

    Attributes:
        topic: that they were fetched from.
        seek: number of the seek since which the partition was read.
        size_bytes: of the keys and values.
        event: what Faust is told once they are durable. None while Faust has the stretch, and for a part that is not its last.
    """

    records: list[Record]
    topic: str
    seek: int
    size_bytes: int
    event: Any = None

    @property
    def weight_bytes(self) -> int:
        """What they count for where collections share something."""
        return self.size_bytes + RECORD_BYTES * len(self.records)


def reached_from(after: int, fetched: Iterable[Any]) -> list[Record]:
    """Records of aiokafka in the order of their offsets, fetched from `after` or from a place before it.

    After a rebalance aiokafka reads from the group's committed offset until our own seek. What lies before `after` is in the
    feed or on its way there; with this seek's `after` it would look like a hole.

    Raises:
        ConfigurationError: a record carries its producer's time.
    """
    records = []
    for found in fetched:
        if found.offset < after:
            continue
        if found.timestamp_type != LOG_APPEND_TIME:
            raise ConfigurationError(
                f"Record {found.offset} of {found.topic}-{found.partition} carries its producer's time: the topic's "
                "message.timestamp.type was changed from LogAppendTime. See `python -m producers topics`."
            )
        records.append(
            Record(found.partition, found.offset, after, found.timestamp, found.key, found.value, found.headers)
        )
        after = found.offset + 1
    return records


def divided(stretch: Stretch, count: int) -> tuple[Stretch, Stretch]:
    """Its first `count` records, and the others, which keep the event; the given stretch itself keeps only the others."""
    head = stretch.records[:count]
    # In place: Faust holds on to the list, and what was divided off is not to wait in memory for the rest.
    del stretch.records[:count]
    size_bytes = sum(record.size_bytes for record in head)
    return (
        stretch._replace(records=head, size_bytes=size_bytes, event=None),
        stretch._replace(size_bytes=stretch.size_bytes - size_bytes),
    )


def stretches(reached: list[Record], topic: str, seek: int) -> Iterator[Stretch]:
    """Records of one partition in stretches of bounded number and size."""
    records: list[Record] = []
    size_bytes = 0
    for record in reached:
        record_bytes = record.size_bytes
        if records and (len(records) == STRETCH_RECORDS_MAX or size_bytes + record_bytes > STRETCH_SIZE_BYTES_MAX):
            yield Stretch(records, topic, seek, size_bytes)
            records, size_bytes = [], 0
        records.append(record)
        size_bytes += record_bytes
    if records:
        yield Stretch(records, topic, seek, size_bytes)
