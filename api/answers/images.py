"""What is known of one image, how far its record has come, and what Kafka confirmed of a write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from api.answers.as_of import Past
from api.answers.cameras import CameraAnswer
from api.answers.coverage import is_covered
from api.answers.duplicates import DuplicatesOfImage
from api.answers.history import HISTORY_RECORDS_MAX, HistoryRecord
from api.answers.problems import ProblemError
from api.answers.records import (
    Degraded,
    Metadata,
    NotShownRecord,
    Source,
    Truncated,
    image_url,
    metadata_object,
    not_shown_of,
    source_of,
)
from contract.record_key import RecordKey
from gallery.generations.manifest import Manifest
from gallery.generations.snapshot import GalleryImage
from gallery.generations.unusable_rows import why_unusable
from gallery.store.rows import FeedRow, ImageRecord
from topics.publisher import Confirmation

RecordState = Literal["confirmed", "rejected", "embedded", "searchable", "deleted", "superseded"]


class ImageAnswer(BaseModel):
    """What is known of one image."""

    id: str
    metadata: Metadata
    width: int | None
    height: int | None
    media_type: str | None
    size_bytes: int | None
    bytes_sha256: str | None
    pixels_sha256: str | None
    truncated: Truncated
    thumbnail_url: str
    original_url: str
    source: Source
    newest_not_shown: NotShownRecord | None = Field(
        description="A newer record of this id whose stored row cannot be used; null as a rule, and with `as_of`."
    )
    camera: CameraAnswer | None = Field(description="What a camera wrote into the file; null for nothing.")
    history: list[HistoryRecord] | None = Field(
        description=(
            f"Every record of this id that the embedder has come to, the oldest in front, at most the newest {HISTORY_RECORDS_MAX}; "
            "null while it cannot be read."
        )
    )
    history_complete: bool = Field(description="False where some records are left out, or it cannot be read.")
    duplicates: list[DuplicatesOfImage] | None = Field(
        description="The groups that it is in by the newest run of `GET /v1/duplicates`, as far as they still hold; null while that is not known."
    )
    degraded: Degraded


class HistoryAnswer(BaseModel):
    """Every record of an id, also of one that is deleted."""

    id: str
    history: list[HistoryRecord] = Field(description=f"The oldest in front, at most the newest {HISTORY_RECORDS_MAX}.")
    complete: bool = Field(description="False where some records are left out.")


class TimelineAnswer(BaseModel):
    """How far one record has come. Times are null where they are unknown or have not come."""

    id: str
    state: RecordState
    reason: str = Field(description="Why it was rejected, else empty.")
    source: Source | None = Field(description="Null until the embedder has come to the record.")
    confirmed_at: int | None = Field(description="Kafka's time of the record.")
    embedded_at: int | None = Field(description="When the embedder's verdict was stored.")
    searchable_at: int | None = Field(description="When this process first covered it; null if that was at its start.")
    degraded: Degraded


class WriteAnswer(BaseModel):
    """What Kafka confirmed; `min_offsets` makes a search wait until it has taken effect."""

    id: str
    log: str
    partition: int
    offset: int
    min_offsets: str


@dataclass(frozen=True)
class More:
    """What is looked up for the details of an image alone.

    Attributes:
        missing: names of what could not be looked up now.
    """

    camera: CameraAnswer | None = None
    history: list[HistoryRecord] | None = None
    is_history_complete: bool = False
    duplicates: list[DuplicatesOfImage] | None = None
    missing: Sequence[str] = ()


def image_answer(
    collection: str,
    image_id: str,
    found: GalleryImage,
    record: ImageRecord | None,
    manifest: Manifest,
    more: More,
    past: Past | None = None,
) -> ImageAnswer:
    """What is known of an image of the collection's generation; what only its record says is null without one.

    Args:
        past: the earlier time at which the id meant it, None for now.
    """
    as_of = past.asked if past else ""
    return ImageAnswer(
        id=image_id,
        metadata=metadata_object(record),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        size_bytes=record.size_bytes if record else None,
        bytes_sha256=record.bytes_sha256.hex() if record else None,
        pixels_sha256=record.pixels_sha256.hex() if record else None,
        truncated=record.is_truncated if record else None,
        thumbnail_url=image_url(collection, image_id, found.source, "thumbnail", as_of),
        original_url=image_url(collection, image_id, found.source, "original", as_of),
        source=source_of(found.source, found.kafka_time_ms),
        newest_not_shown=None if past else not_shown_of(manifest, image_id),
        camera=more.camera,
        history=more.history,
        history_complete=more.is_history_complete,
        duplicates=more.duplicates,
        degraded=[*([] if record else ["metadata"]), *more.missing],
    )


def timeline_answer(
    image_id: str,
    key: RecordKey,
    row: FeedRow | None,
    found: GalleryImage | None,
    manifest: Manifest,
    *,
    searchable_at_ms: int | None,
    degraded: list[str],
) -> TimelineAnswer:
    """How far the record at `key` has come.

    Args:
        row: what the feed says of it; None while the embedder has not come to it, or the store is away.
        found: what the id means in the generation that is served.
        manifest: of that one.
        searchable_at_ms: when this process first covered it.
    """
    is_current = found is not None and found.source == key
    unusable = why_unusable(row, manifest.dimensions) if row else ""
    time_ms = (
        row.kafka_time_ms if row and row.kafka_time_ms >= 0 else found.kafka_time_ms if found and is_current else None
    )
    state = _state(row, is_current=is_current, covered=is_covered(manifest, key))
    return TimelineAnswer(
        id=image_id,
        state="rejected" if unusable else state,
        reason=unusable or (row.reason.split()[0] if row and row.outcome == "reject" else ""),
        source=source_of(key, time_ms) if time_ms is not None else None,
        confirmed_at=time_ms,
        embedded_at=row.embedded_at_ms or None if row else None,
        searchable_at=searchable_at_ms,
        degraded=degraded,
    )


def write_answer(confirmed: Confirmation) -> WriteAnswer:
    """What Kafka confirmed of a write."""
    return WriteAnswer(
        id=confirmed.image_id,
        log=confirmed.log,
        partition=confirmed.partition,
        offset=confirmed.offset,
        min_offsets=confirmed.min_offsets,
    )


def unknown_image(image_id: str, not_shown: NotShownRecord | None = None, past: Past | None = None) -> ProblemError:
    """404: no image has this id in the generation that is served, or had it then, perhaps because its newest record is not shown."""
    if past:
        return ProblemError(404, "unknown-image", f"No image had the id {image_id[:300]!r} as of {past.asked}.")
    detail = f"No image has the id {image_id[:300]!r} in the index. "
    if not_shown:
        detail += (
            f"Its newest record, {not_shown.log} {not_shown.partition}:{not_shown.offset}, is set aside "
            f"({not_shown.reason}): publish it again."
        )
    else:
        detail += "If it was published just now, wait with min_offsets."
    return ProblemError(404, "unknown-image", detail)


def _state(row: FeedRow | None, *, is_current: bool, covered: bool) -> RecordState:
    if is_current:
        return "searchable"
    if row is None:
        return "superseded" if covered else "confirmed"
    if row.outcome == "reject":
        return "rejected"
    if not covered:
        return "embedded"
    return "deleted" if row.outcome == "delete" else "superseded"
