"""The history of an id: every record of it that the embedder has come to, and what each did."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, Field

from api.answers.records import Source, image_url, source_of
from contract.record_key import RecordKey
from gallery.store.rows import FeedRow, ImageRecord

HISTORY_RECORDS_MAX = 1000
# Of these the size is told too: each costs a read.
HISTORY_SIZES_MAX = 100
_OUTCOMES = ("put", "delete", "reject")


class HistoryRecord(BaseModel):
    """One record of an id."""

    kind: Literal["put", "replaced", "deleted", "rejected"] = Field(
        description=(
            "`put`: there was no image of this id before; `replaced`: there was one, which this one replaced; `rejected`: it "
            "changed nothing."
        )
    )
    reason: str = Field(description="Why it was rejected, else empty.")
    source: Source
    width: int | None = Field(
        description=f"Of the newest {HISTORY_SIZES_MAX} records that brought an image, else null."
    )
    height: int | None
    media_type: str | None
    size_bytes: int | None
    thumbnail_url: str | None = Field(description="Of a record that brought an image; gone when the image is deleted.")


def in_effect_order(logs: Sequence[Sequence[FeedRow]]) -> list[FeedRow]:
    """The rows of an id in the order in which they take effect: log by log, then by Kafka's time, which never goes back within a partition.

    Args:
        logs: rows by partition and offset, of each log, the oldest in front.
    """
    keyed = []
    for number, rows in enumerate(logs):
        effective_ms: dict[int, int] = {}
        for row in rows:
            if row.outcome not in _OUTCOMES:
                continue
            partition = row.key.partition
            effective_ms[partition] = max(effective_ms.get(partition, 0), row.kafka_time_ms)
            keyed.append(((number, effective_ms[partition], partition, row.key.offset), row))
    return [row for _, row in sorted(keyed, key=lambda each: each[0])]


def sized(rows: Sequence[FeedRow]) -> list[RecordKey]:
    """The records whose sizes a history tells."""
    return [row.key for row in rows if row.outcome == "put"][-HISTORY_SIZES_MAX:]


def history_of(
    collection: str, image_id: str, rows: Sequence[FeedRow], records: Mapping[RecordKey, ImageRecord]
) -> list[HistoryRecord]:
    """What each of the newest 1,000 records did, the oldest in front.

    Args:
        rows: all of the id, in order.
        records: what is known of those that brought an image.
    """
    told, is_there = [], False
    for row in rows:
        is_put = row.outcome == "put"
        kind: Literal["put", "replaced", "deleted", "rejected"] = (
            "rejected" if row.outcome == "reject" else "deleted" if not is_put else "replaced" if is_there else "put"
        )
        if row.outcome != "reject":
            is_there = is_put
        told.append((kind, row))
    return [_record(collection, image_id, kind, row, records.get(row.key)) for kind, row in told[-HISTORY_RECORDS_MAX:]]


def _record(
    collection: str,
    image_id: str,
    kind: Literal["put", "replaced", "deleted", "rejected"],
    row: FeedRow,
    record: ImageRecord | None,
) -> HistoryRecord:
    return HistoryRecord(
        kind=kind,
        reason=(row.reason.split() or [""])[0] if kind == "rejected" else "",
        source=source_of(row.key, row.kafka_time_ms),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        size_bytes=record.size_bytes if record else None,
        thumbnail_url=image_url(collection, image_id, row.key, "thumbnail") if row.outcome == "put" else None,
    )
