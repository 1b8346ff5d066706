"""`/v1/images`: what is known of an image, its thumbnail and original, its timeline; publish and delete."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from api.answers.as_of import Past
from api.answers.finding import find_image
from api.answers.images import (
    HistoryAnswer,
    ImageAnswer,
    TimelineAnswer,
    WriteAnswer,
    image_answer,
    timeline_answer,
    unknown_image,
    write_answer,
)
from api.answers.problems import describe_problems
from api.answers.records import ImageId, image_url, not_shown_of, record_text
from api.live.collections import services_of
from api.live.services import Services
from api.routes.bodies import read_upload
from api.routes.body_memory import take_memory
from api.routes.details import look_up_history, look_up_more
from api.routes.offsets import read_asked_as_of, wait_covered
from api.routes.parameters import AsOfTime
from api.routes.writers import check_writer, request_origin
from contract.errors import DependencyError
from contract.formats import MEDIA_TYPES
from contract.messages import check_image_id, check_value, metadata_of
from contract.record_key import RecordKey
from gallery.generations.snapshot import GalleryImage
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


@router.get("/images", responses=describe_problems(400, 404, 410, 412, 503))
async def image(request: Request, id: Id, as_of: AsOfTime = None) -> ImageAnswer:
    """What is known of an image, or what was the image of this id at an earlier time."""
    services = services_of(request)
    past = await _past(as_of, services)
    found = await _find(id, services, past)
    records, _ = await services.records.records([found.source])
    record = records.get(found.source)
    more = await look_up_more(request, id, found.source, record, services)
    manifest = services.snapshot().manifest
    return image_answer(services.collection.name, id, found, record, manifest, more, past)


@router.get("/images/thumbnail", response_class=Response, responses=_IMAGE | describe_problems(400, 404, 410, 412, 503))
async def thumbnail(request: Request, id: Id, at: At = None, as_of: AsOfTime = None) -> Response:
    """A small picture of the image, at most 96 pixels on its longer side. Of a deleted image only with `as_of`."""
    services = services_of(request)
    past = await _past(as_of, services)
    key = _record_key(id, at, services) or (await _find(id, services, past)).source
    record = await services.records.record(key)
    await _check_kept(id, key, services, past)
    if record is None or record.image_id != id:
        raise unknown_image(id)
    return _picture(request, key, at, record.thumbnail)


@router.get("/images/original", response_class=Response, responses=_IMAGE | describe_problems(400, 404, 410, 412, 503))
async def original(request: Request, id: Id, at: At = None, as_of: AsOfTime = None) -> Response:
    """The bytes exactly as they were published. Of a deleted image only with `as_of`."""
    services = services_of(request)
    past = await _past(as_of, services)
    key = _record_key(id, at, services) or (await _find(id, services, past)).source
    record = await services.records.record(key)
    await take_memory(request, record.size_bytes if record else 0)
    value = await services.records.original(key)
    await _check_kept(id, key, services, past)
    if record is None or record.image_id != id or value is None:
        raise unknown_image(id)
    return _picture(request, key, at, value)


@router.get("/images/history", responses=describe_problems(400, 404, 503))
async def image_history(request: Request, id: Id) -> HistoryAnswer:
    """Every record of an id, also when its image is deleted: when it was put, replaced, deleted or rejected."""
    return await look_up_history(id, services_of(request))


@router.get("/images/timeline", responses=describe_problems(400, 404, 503))
async def timeline(request: Request, id: Id, at: At = None) -> TimelineAnswer:
    """How far a record has come: confirmed by Kafka, embedded or rejected, searchable.

    Follow a write with the address in the Location of its answer; without `at` it is the record that the id means now.
    """
    services = services_of(request)
    snapshot = services.snapshot()
    key = _record_key(id, at, services) or (await _find(id, services)).source
    row, degraded = None, []
    try:
        row = await services.records.feed_row(key, services.encoder)
    except DependencyError:
        degraded = ["embedded_at"]
    if row is not None and row.outcome != "reject" and row.image_id != id:
        raise unknown_image(id)
    searchable_at_ms = services.arrivals.searchable_since_ms(key)
    return timeline_answer(
        id,
        key,
        row,
        await find_image(snapshot, id),
        snapshot.manifest,
        searchable_at_ms=searchable_at_ms,
        degraded=degraded,
    )


@router.post(
    "/images",
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
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    if id is not None:
        check_image_id(id)
    upload = await read_upload(request)
    # The publisher checks both again, but only once it has reached Kafka.
    check_value(upload.value)
    if upload.metadata:
        metadata_of([("metadata", upload.metadata.encode())])
    return _written(
        await services.publishing.put(upload.value, id, upload.metadata or None, request_origin(request)),
        services,
        response,
    )


@router.delete("/images", status_code=202, responses=describe_problems(400, 403, 503))
async def delete(request: Request, response: Response, id: Id) -> WriteAnswer:
    """Delete an image, known or not: 202 means that Kafka has the delete, and it takes effect in Kafka's order."""
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    check_image_id(id)
    return _written(await services.publishing.delete(id, request_origin(request)), services, response)


async def _past(as_of: str | None, services: Services) -> Past | None:
    asked = read_asked_as_of(as_of, services)
    await wait_covered({}, 0, services, asked)
    return await services.searcher.past(services.snapshot(), asked) if asked else None


async def _find(image_id: str, services: Services, past: Past | None = None) -> GalleryImage:
    found = await find_image(services.snapshot(), image_id, past)
    if found is None and past:
        raise unknown_image(image_id, past=past)
    if found is None:
        raise unknown_image(image_id, not_shown_of(services.snapshot().manifest, image_id))
    return found


async def _check_kept(image_id: str, key: RecordKey, services: Services, past: Past | None) -> None:
    """The picture of an image that is deleted is gone, whichever record is asked for. A record that is not covered here, as another
    machine may cover it already, is not known to be deleted."""
    manifest = services.snapshot().manifest
    if past or key.log != manifest.log or key.offset < manifest.offsets.get(str(key.partition), 0):
        await _find(image_id, services, past)


def _record_key(image_id: str, at: str | None, services: Services) -> RecordKey | None:
    """The record that `at` means; None without it. One of another collection's topic is none of this one's."""
    if at is None:
        return None
    log, partition, offset = at.rsplit(":", 2)
    if log.rpartition(":")[0] != services.settings.kafka_topic:
        raise unknown_image(image_id)
    return RecordKey(log, int(partition), int(offset))


def _picture(request: Request, key: RecordKey, at: str | None, content: bytes) -> Response:
    headers = {"ETag": f'"{record_text(key)}"', "Cache-Control": CACHE_RECORD if at else CACHE_ID}
    if headers["ETag"] in re.split(r"\s*,\s*", request.headers.get("if-none-match", "")):
        return Response(status_code=304, headers=headers)
    # What the bytes are was decided by their signature when they were embedded: it cannot be anything but an image.
    return Response(content, media_type=check_value(content), headers=headers)


def _written(confirmed: Confirmation, services: Services, response: Response) -> WriteAnswer:
    key = RecordKey(confirmed.log, confirmed.partition, confirmed.offset)
    response.headers["Location"] = image_url(services.collection.name, confirmed.image_id, key, "timeline")
    return write_answer(confirmed)
