"""The rows of the store as frozen values: each belongs to one Kafka record."""

from dataclasses import dataclass, field
from typing import Literal

from contract.origin import UNKNOWN_ORIGIN, Origin
from contract.record_key import RecordKey

Outcome = Literal["put", "delete", "reject", "gap"]


@dataclass(frozen=True)
class FeedRow:
    """What became of one Kafka record. A damaged row may hold anything: see gallery/generations/unusable_rows.py.

    Attributes:
        after: position from which the record was reached: no record lies in [after, key.offset).
        outcome: of a ``gap`` no record lies at `key.offset` either: it carries the watermark over what no record fills.
        reason: of a reject; or ``expired-before`` on the first record behind offsets that Kafka expired.
        embedding: float32 as little-endian bytes; None unless `outcome` is ``put``.
        kafka_time_ms: the record's LogAppendTime, milliseconds since 1970; -1 where a damaged row has none.
        embedded_at_ms: when the embedder wrote the row; informational, 0 when unknown.
        metadata: of a put, as `ImageRecord.metadata`. An earlier version wrote None; then `Feed.read` takes the record's.
        origin: what the record's headers say of it; of an image that was restored, what its row under another encoder said.
    """

    key: RecordKey
    after: int
    outcome: Outcome
    reason: str
    image_id: str
    embedding: bytes | None = field(repr=False)
    kafka_time_ms: int
    embedded_at_ms: int = 0
    metadata: str | None = None
    origin: Origin = UNKNOWN_ORIGIN


@dataclass(frozen=True)
class RecordSummary:
    """What tells whether two images are the same, and which is better: a record without its pictures and texts."""

    key: RecordKey
    width: int
    height: int
    size_bytes: int
    bytes_sha256: bytes
    pixels_sha256: bytes


@dataclass(frozen=True)
class ImageRecord:
    """What is known of the image that one Kafka record brought.

    Attributes:
        metadata: JSON text, "" without any.
        thumbnail: encoded image, at most 96 pixels on its longer side.
        original: the published bytes when they are at most 16 KiB, else None (see `Records.read_original`).
        is_truncated: the file lacks its end; what is there was embedded, and the rest is grey, black or transparent.
    """

    key: RecordKey
    image_id: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    bytes_sha256: bytes
    pixels_sha256: bytes
    metadata: str
    thumbnail: bytes = field(repr=False)
    original: bytes | None = field(repr=False)
    kafka_time_ms: int
    is_truncated: bool = False
