"""Records of one partition as they were fetched: how each was reached, and how many travel together."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

STRETCH_RECORDS_MAX = 128
STRETCH_SIZE_BYTES_MAX = 4 * 1024 * 1024


class Reached(NamedTuple):
    """A fetched record and how it was reached.

    Attributes:
        record: aiokafka's record.
        after: position from which it was fetched: no committed record lies in [after, record.offset).
        is_expired: Kafka may have expired records in [after, record.offset).
        is_gap: there is no record at `record.offset` either. The consumer's position stepped over transaction markers, aborted
            or compacted records, or what Kafka had expired, and nothing has followed yet.
    """

    record: Any
    after: int
    is_expired: bool
    is_gap: bool = False


class Stretch(NamedTuple):
    """Records of one partition that were fetched together, in order, at least one.

    Attributes:
        seek: number of the seek since which the partition was read.
        size_bytes: of the keys and values.
    """

    records: list[Reached]
    seek: int
    size_bytes: int


def reached_from(after: int, records: Iterable[Any]) -> list[Reached]:
    """Records in the order of their offsets, fetched from `after` or from a place before it.

    After a rebalance aiokafka reads from the group's committed offset until our own seek. What lies before `after` is in the
    feed or on its way there; with this seek's `after` it would look like a hole.
    """
    reached = []
    for record in records:
        if record.offset >= after:
            reached.append(Reached(record, after, False))
            after = record.offset + 1
    return reached


def divided(stretch: Stretch, count: int) -> tuple[Stretch, Stretch]:
    """Its first `count` records, and the others."""
    head, tail = stretch.records[:count], stretch.records[count:]
    size_bytes = sum(_size_bytes(each) for each in head)
    return Stretch(head, stretch.seek, size_bytes), Stretch(tail, stretch.seek, stretch.size_bytes - size_bytes)


def stretches(reached: list[Reached], seek: int) -> Iterator[Stretch]:
    """Records of one partition in stretches of bounded number and size."""
    records: list[Reached] = []
    size_bytes = 0
    for each in reached:
        record_bytes = _size_bytes(each)
        if records and (len(records) == STRETCH_RECORDS_MAX or size_bytes + record_bytes > STRETCH_SIZE_BYTES_MAX):
            yield Stretch(records, seek, size_bytes)
            records, size_bytes = [], 0
        records.append(each)
        size_bytes += record_bytes
    if records:
        yield Stretch(records, seek, size_bytes)


def _size_bytes(reached: Reached) -> int:
    return len(reached.record.key or b"") + len(reached.record.value or b"")
