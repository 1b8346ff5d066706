"""`POST /v1/search`: the nearest images to an image, an id or an embedding."""

import json
import time
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.answers import ImageId, SearchAnswer, SearchMatch, Timing, coverage_of, image_url, source_of
from api.bodies import content_type, read_body, read_upload
from api.offsets import MIN_OFFSETS_PATTERN, read_min_offsets, wait_covered
from api.problems import ProblemError, describe_problems
from api.queries import Query as SearchQuery
from api.services import Services, services
from contract.telemetry import SEARCH_SECONDS
from gallery.base import DIMENSIONS
from gallery.rows import ImageRecord
from gallery.snapshot import Match, Snapshot

K_MAX = 100
WAIT_MS_MAX = 5000
# 128 numbers of 20 digits are 3 kB.
JSON_SIZE_BYTES_MAX = 64 * 1024

router = APIRouter()


class ById(BaseModel):
    """Search with the embedding of an image in the gallery."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image_id: ImageId


class ByEmbedding(BaseModel):
    """Search with an embedding."""

    model_config = ConfigDict(extra="forbid", strict=True)

    embedding: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False, ge=-3.4e38, le=3.4e38)]],
        Field(min_length=DIMENSIONS, max_length=DIMENSIONS),
    ]


_IMAGE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "image/png": _IMAGE,
        "image/jpeg": _IMAGE,
        "image/webp": _IMAGE,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
        "application/json": {"schema": {"oneOf": [ById.model_json_schema(), ByEmbedding.model_json_schema()]}},
    },
}


@router.post(
    "/v1/search",
    responses=describe_problems(400, 404, 412, 413, 415, 422, 503),
    openapi_extra={"requestBody": _BODY},
)
async def search(
    request: Request,
    k: Annotated[int, Query(ge=1, le=K_MAX, description="How many neighbours.")] = 10,
    max_distance: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="Leave farther images out.")
    ] = None,
    min_offsets: Annotated[
        str | None,
        Query(
            pattern=MIN_OFFSETS_PATTERN,
            description="Answer only from an index that covers all records below these offsets, else 412.",
            examples=["0:1240,1:1198"],
        ),
    ] = None,
    wait_ms: Annotated[int, Query(ge=0, le=WAIT_MS_MAX, description="How long to wait for `min_offsets`.")] = 0,
) -> SearchAnswer:
    """Find the nearest images: exact, Euclidean, ties by id.

    The body is an image (PNG, JPEG or WebP), a form with the field `file`, `{"image_id": …}` or `{"embedding": [128 numbers]}`.
    """
    start_s = time.perf_counter()
    road = services(request)
    wanted = read_min_offsets(min_offsets, road)
    asked = await _read_question(request, road)
    if wanted:
        await wait_covered(wanted, wait_ms, road)
    snapshot = road.snapshot()
    query = await _with_id(asked.image_id, snapshot, road) if isinstance(asked, ById) else asked

    search_s = time.perf_counter()
    matches = await road.searches.run(lambda: snapshot.search(query.embedding, k, max_distance))
    lookup_s = time.perf_counter()
    records, is_complete = await road.details.records([match.source for match in matches])
    end_s = time.perf_counter()
    timing = Timing(
        decode=_rounded(query.decode_ms),
        encode=_rounded(query.encode_ms),
        search=_rounded((lookup_s - search_s) * 1000),
        lookup=_rounded((end_s - lookup_s) * 1000),
        total=_rounded((end_s - start_s) * 1000),
    )
    for stage, took_ms in timing:
        SEARCH_SECONDS.labels(stage).observe(took_ms / 1000)
    return SearchAnswer(
        matches=[_match(match, records.get(match.source), query) for match in matches],
        coverage=coverage_of(snapshot.manifest, road.ends),
        degraded=[] if is_complete else ["metadata"],
        timing_ms=timing,
    )


async def _read_question(request: Request, road: Services) -> ById | SearchQuery:
    if content_type(request) != "application/json":
        return await road.queries.encode((await read_upload(request)).value)
    question = read_question(await read_body(request, JSON_SIZE_BYTES_MAX))
    if isinstance(question, ById):
        return question
    return SearchQuery(np.array(question.embedding, np.float32))


def read_question(body: bytes) -> ById | ByEmbedding:
    """The question that a JSON body asks.

    Raises:
        ProblemError: 400 ``bad-json``, ``bad-query``, ``bad-image-id`` or ``bad-embedding``.
    """
    try:
        asked = json.loads(body)
        body.decode()
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            400, "bad-json", f"The body is not JSON in UTF-8: {error}. See /docs for examples."
        ) from error
    if not isinstance(asked, dict) or len(asked) != 1 or not asked.keys() & {"image_id", "embedding"}:
        raise ProblemError(
            400, "bad-query", 'The body must be {"image_id": text} or {"embedding": [128 numbers]} and nothing else.'
        )
    try:
        return ById.model_validate(asked) if "image_id" in asked else ByEmbedding.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name, *place = (str(part) for part in first["loc"])
        where = f"{name}[{place[0]}]" if place else name
        expected = "1 to 256 bytes of text" if name == "image_id" else f"{DIMENSIONS} finite numbers"
        raise ProblemError(
            400, f"bad-{name.replace('_', '-')}", f"{where}: {first['msg']}. Expected {expected}."
        ) from error


async def _with_id(image_id: str, snapshot: Snapshot, road: Services) -> SearchQuery:
    """The query that an image of the gallery makes; its hashes come from its record where that is known."""
    found = snapshot.find(image_id)
    if found is None:
        raise unknown_image(image_id)
    records, _ = await road.details.records([found.source])
    query = SearchQuery(found.embedding)
    if (record := records.get(found.source)) is not None:
        query = replace(query, bytes_sha256=record.bytes_sha256, pixels_sha256=record.pixels_sha256)
    return query


def unknown_image(image_id: str) -> ProblemError:
    """404: no image has this id in the generation that is served."""
    return ProblemError(
        404,
        "unknown-image",
        f"No image has the id {image_id[:300]!r} in the index. If it was published just now, wait with min_offsets.",
    )


def _match(match: Match, record: ImageRecord | None, query: SearchQuery) -> SearchMatch:
    return SearchMatch(
        id=match.image_id,
        distance=match.distance,
        metadata=metadata_object(record),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        same_bytes=record.bytes_sha256 == query.bytes_sha256 if record and query.bytes_sha256 else None,
        same_pixels=record.pixels_sha256 == query.pixels_sha256 if record and query.pixels_sha256 else None,
        thumbnail_url=image_url(match.image_id, match.source, "thumbnail"),
        source=source_of(match.source, match.kafka_time_ms),
    )


def metadata_object(record: ImageRecord | None) -> dict[str, Any] | None:
    """A record's metadata as an object: {} without any, None while the record is unknown."""
    if record is None:
        return None
    parsed: dict[str, Any] = json.loads(record.metadata) if record.metadata else {}
    return parsed


def _rounded(milliseconds: float) -> float:
    return round(milliseconds, 3)
