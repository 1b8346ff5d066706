"""`/v1/images`: what is known of an image, its thumbnail and original, its timeline; publish and delete."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.answers.bodies import (
    ImageAnswer,
    ImageId,
    State,
    TimelineAnswer,
    WriteAnswer,
    image_url,
    not_shown_of,
    record_text,
    source_of,
)
from api.answers.problems import describe_problems
from api.live.arrivals import is_covered
from api.live.publishing import check_writer
from api.live.services import Services, services
from api.routes.bodies import read_upload
from api.routes.room import take_room
from api.routes.search import metadata_object, unknown_image
from contract.errors import DependencyError
from contract.formats import MEDIA_TYPES
from contract.messages import check_image_id, check_value, metadata_of
from contract.record_key import RecordKey
from gallery.generations.snapshot import GalleryImage
from gallery.generations.unusable_rows import why_unusable
from gallery.store.rows import FeedRow
from topics.publisher import Confirmation

AT_PATTERN = r"^[^:]{1,250}:[^:]{1,64}:[0-9]{1,9}:[0-9]{1,18}$"
# A record never changes, but its image may be deleted: so a browser asks again after an hour.
CACHE_RECORD = "private, max-age=3600"
CACHE_ID = "no-cache"

Id = Annotated[ImageId, Query()]
At = Annotated[
    str | None,
    Query(
        pattern=AT_PATTERN,
        description="The Kafka record meant, as log:partition:offset; without it the one that the id means now.",
    ),
]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_IMAGE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The image", "content": dict.fromkeys(MEDIA_TYPES, _BINARY)},
    304: {"description": "Unchanged since the ETag in If-None-Match"},
}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        **dict.fromkeys(MEDIA_TYPES, _BINARY),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "metadata": {
                        "type": "string",
                        "description": "A JSON object, at most 16 KiB and nested at most 64 deep.",
                    },
                },
            }
        },
    },
}

router = APIRouter()


@router.get("/v1/images", responses=describe_problems(400, 404, 503))
async def image(request: Request, id: Id) -> ImageAnswer:
    """What is known of an image."""
    road = services(request)
    found = _find(id, road)
    records, is_complete = await road.details.records([found.source])
    record = records.get(found.source)
    return ImageAnswer(
        id=id,
        metadata=metadata_object(record),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        size_bytes=record.size_bytes if record else None,
        bytes_sha256=record.bytes_sha256.hex() if record else None,
        pixels_sha256=record.pixels_sha256.hex() if record else None,
        truncated=record.is_truncated if record else None,
        thumbnail_url=image_url(id, found.source, "thumbnail"),
        original_url=image_url(id, found.source, "original"),
        source=source_of(found.source, found.kafka_time_ms),
        newest_not_shown=not_shown_of(road.snapshot().manifest, id),
        degraded=[] if is_complete else ["metadata"],
    )


@router.get("/v1/images/thumbnail", response_class=Response, responses=_IMAGE | describe_problems(400, 404, 503))
async def thumbnail(request: Request, id: Id, at: At = None) -> Response:
    """A small picture of the image, at most 96 pixels on its longer side."""
    road = services(request)
    key = _record_key(at) or _find(id, road).source
    record = await road.details.record(key)
    _find(id, road)  # the picture of an image that is deleted is gone, whichever record is asked for
    if record is None or record.image_id != id:
        raise unknown_image(id)
    return _picture(request, key, at, record.thumbnail)


@router.get("/v1/images/original", response_class=Response, responses=_IMAGE | describe_problems(400, 404, 503))
async def original(request: Request, id: Id, at: At = None) -> Response:
    """The bytes exactly as they were published."""
    road = services(request)
    key = _record_key(at) or _find(id, road).source
    record = await road.details.record(key)
    await take_room(request, record.size_bytes if record else 0)
    value = await road.details.original(key)
    _find(id, road)
    if record is None or record.image_id != id or value is None:
        raise unknown_image(id)
    return _picture(request, key, at, value)


@router.get("/v1/images/timeline", responses=describe_problems(400, 404, 503))
async def timeline(request: Request, id: Id, at: At = None) -> TimelineAnswer:
    """How far a record has come: confirmed by Kafka, embedded or rejected, searchable.

    Follow a write with the address in the Location of its answer; without `at` it is the record that the id means now.
    """
    road = services(request)
    found = road.snapshot().find(id)
    key = _record_key(at) or _find(id, road).source
    degraded: list[str] = []
    row: FeedRow | None = None
    try:
        row = await road.details.feed_row(key, road.encoder)
    except DependencyError:
        degraded = ["embedded_at"]
    if row is not None and row.outcome != "reject" and row.image_id != id:
        raise unknown_image(id)
    is_current = found is not None and found.source == key
    unusable = why_unusable(row, road.snapshot().manifest.dimensions) if row else ""
    time_ms = (
        row.kafka_time_ms if row and row.kafka_time_ms >= 0 else found.kafka_time_ms if found and is_current else None
    )
    return TimelineAnswer(
        id=id,
        state="rejected"
        if unusable
        else _state(row, is_current=is_current, covered=is_covered(road.snapshot().manifest, key)),
        reason=unusable or (row.reason.split()[0] if row and row.outcome == "reject" else ""),
        source=source_of(key, time_ms) if time_ms is not None else None,
        confirmed_at=time_ms,
        embedded_at=row.embedded_at_ms or None if row else None,
        searchable_at=road.arrivals.searchable_since_ms(key),
        degraded=degraded,
    )


@router.post(
    "/v1/images",
    status_code=202,
    responses=describe_problems(400, 403, 413, 415, 503),
    openapi_extra={"requestBody": _BODY},
)
async def publish(
    request: Request,
    response: Response,
    id: Annotated[ImageId | None, Query(description="Without it the SHA-256 of the image's bytes in hex.")] = None,
) -> WriteAnswer:
    """Publish an image: it replaces the one with the same id as soon as it is searchable.

    202 means that Kafka has it. Whether it can be decoded shows in its timeline (the address in Location), and a search
    with the answer's `min_offsets` waits for it.
    """
    road = services(request)
    check_writer(request, road.settings.api_allowed_hosts)
    if id is not None:
        check_image_id(id)
    upload = await read_upload(request)
    # The publisher checks both again, but only once it has reached Kafka.
    check_value(upload.value)
    if upload.metadata:
        metadata_of([("metadata", upload.metadata.encode())])
    return _written(await road.publishing.put(upload.value, id, upload.metadata or None), response)


@router.delete("/v1/images", status_code=202, responses=describe_problems(400, 403, 503))
async def delete(request: Request, response: Response, id: Id) -> WriteAnswer:
    """Delete an image, known or not: 202 means that Kafka has the delete, and it takes effect in Kafka's order."""
    road = services(request)
    check_writer(request, road.settings.api_allowed_hosts)
    check_image_id(id)
    return _written(await road.publishing.delete(id), response)


def _find(image_id: str, road: Services) -> GalleryImage:
    found = road.snapshot().find(image_id)
    if found is None:
        raise unknown_image(image_id, not_shown_of(road.snapshot().manifest, image_id))
    return found


def _record_key(at: str | None) -> RecordKey | None:
    if at is None:
        return None
    log, partition, offset = at.rsplit(":", 2)
    return RecordKey(log, int(partition), int(offset))


def _picture(request: Request, key: RecordKey, at: str | None, content: bytes) -> Response:
    headers = {"ETag": f'"{record_text(key)}"', "Cache-Control": CACHE_RECORD if at else CACHE_ID}
    if headers["ETag"] in re.split(r"\s*,\s*", request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    # What the bytes are was decided by their signature when they were embedded: it cannot be anything but an image.
    return Response(content, media_type=check_value(content), headers=headers)


def _state(row: FeedRow | None, *, is_current: bool, covered: bool) -> State:
    if is_current:
        return "searchable"
    if row is None:
        return "superseded" if covered else "confirmed"
    if row.outcome == "reject":
        return "rejected"
    if not covered:
        return "embedded"
    return "deleted" if row.outcome == "delete" else "superseded"


def _written(confirmed: Confirmation, response: Response) -> WriteAnswer:
    key = RecordKey(confirmed.log, confirmed.partition, confirmed.offset)
    response.headers["Location"] = image_url(confirmed.image_id, key, "timeline")
    return WriteAnswer(
        id=confirmed.image_id,
        log=confirmed.log,
        partition=confirmed.partition,
        offset=confirmed.offset,
        min_offsets=confirmed.min_offsets,
    )
