"""What becomes of one record, and the rows and the message that say so: pure functions of its bytes and the encoder."""

import hashlib
from typing import NamedTuple

from contract.errors import RejectedError
from contract.messages import (
    INLINE_ORIGINAL_SIZE_BYTES_MAX,
    Rejection,
    check_value,
    image_id_of,
    metadata_of,
)
from contract.origin import UNKNOWN_ORIGIN, Origin, origin_of
from contract.record_key import RecordKey
from gallery.generations.fold import EXPIRED
from gallery.store.rows import FeedRow, ImageRecord, Outcome
from model.pictures.decoder import Decoded
from runtime.planted import planted
from workers.embedder.records import Record


class Judged(NamedTuple):
    """A record and what became of it.

    Attributes:
        reason: of a reject, and `detail` says it for people.
        image_id: "" where it cannot be told.
        metadata: JSON text of an image, "" without any.
        decoded: what the decoder made of an image.
        origin: what the record's headers say of it.
    """

    record: Record
    outcome: Outcome
    reason: str = ""
    detail: str = ""
    image_id: str = ""
    metadata: str = ""
    decoded: Decoded | None = None
    origin: Origin = UNKNOWN_ORIGIN

    def with_decoded(self, decoded: Decoded) -> "Judged":
        """What becomes of an image once it was decoded and embedded."""
        if decoded.reason:
            return self._replace(outcome="reject", reason=decoded.reason, detail=decoded.detail)
        return self._replace(decoded=decoded)


def judge(record: Record) -> Judged:
    """The outcome of a record as far as it can be told without decoding: a ``put`` still lacks what the decoder makes of it."""
    if record.is_gap:
        return Judged(record, "gap")
    image_id = metadata = ""
    origin = origin_of(record.headers)
    try:
        image_id = image_id_of(record.key, record.value)
        metadata = metadata_of(record.headers)
        if record.value is None:
            return Judged(record, "delete", image_id=image_id, origin=origin)
        check_value(record.value)
    except RejectedError as error:
        if error.reason == "bad-metadata" and planted("embedder-accepts-bad-metadata"):
            return Judged(record, "put", image_id=image_id, origin=origin)
        return Judged(record, "reject", error.reason, error.detail, image_id, origin=origin)
    return Judged(record, "put", image_id=image_id, metadata=metadata, origin=origin)


def image_record(log: str, judged: Judged) -> ImageRecord:
    """What is stored of an image that was embedded."""
    record, decoded, value = judged.record, judged.decoded, judged.record.value
    assert decoded is not None and value is not None
    return ImageRecord(
        RecordKey(log, record.partition, record.offset),
        image_id=judged.image_id,
        media_type=decoded.media_type,
        width=decoded.width,
        height=decoded.height,
        size_bytes=len(value),
        bytes_sha256=hashlib.sha256(value).digest(),
        pixels_sha256=decoded.pixels_sha256,
        metadata=judged.metadata,
        thumbnail=decoded.thumbnail,
        original=value if len(value) <= INLINE_ORIGINAL_SIZE_BYTES_MAX else None,
        kafka_time_ms=record.kafka_time_ms,
        is_truncated=decoded.is_truncated,
    )


def rejection(log: str, judged: Judged) -> Rejection:
    """What the rejected topic says of a reject."""
    topic, _, _ = log.rpartition(":")
    record = judged.record
    return Rejection(
        reason=judged.reason, detail=judged.detail, topic=topic, key=RecordKey(log, record.partition, record.offset)
    )


def feed_row(log: str, judged: Judged) -> FeedRow:
    """The record's row in the feed."""
    record = judged.record
    assert record.after <= record.offset, record[:3]
    return FeedRow(
        RecordKey(log, record.partition, record.offset),
        after=record.after,
        outcome=judged.outcome,
        reason=f"{judged.reason} {EXPIRED}".strip() if record.is_expired else judged.reason,
        image_id=judged.image_id,
        embedding=judged.decoded.embedding if judged.decoded else None,
        kafka_time_ms=record.kafka_time_ms,
        metadata=judged.metadata if judged.outcome == "put" else "",
        origin=judged.origin,
    )
