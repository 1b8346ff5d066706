"""`POST /v1/search` and `/v1/search/batch`: the nearest images to an image, an id or an embedding, or to many at once."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import msgspec
import numpy as np
from fastapi import APIRouter, Request

from api.answers.bodies import (
    BatchAnswer,
    NotShownRecord,
    QueryAnswer,
    SearchAnswer,
    SearchMatch,
    Timing,
    coverage_of,
    image_url,
    source_of,
)
from api.answers.efforts import effort_needs_image, search_hypotheses
from api.answers.explanations import Explanation, explain_needs_image
from api.answers.ordering import check_sort, larger_by, ordered
from api.answers.problems import ProblemError, describe_problems, rejected_problem
from api.answers.queries import Query as SearchQuery
from api.live.services import Services, services
from api.routes.bodies import content_type, read_body, read_upload, read_uploads
from api.routes.offsets import read_min_offsets, wait_covered
from api.routes.parameters import Explain, HowThorough, K, MaxDistance, MinOffsets, SortBy, WaitMs
from api.routes.questions import ByEmbedding, ById, Question, described_body, read_question, read_questions
from contract.errors import RejectedError
from contract.record_key import RecordKey
from contract.telemetry import SEARCH_SECONDS
from gallery.generations.snapshot import Match, Snapshot
from gallery.store.rows import ImageRecord
from model.verdicts.frames import Shown

# 512 numbers of 20 digits are 11 kB.
JSON_SIZE_BYTES_MAX = 64 * 1024
BATCH_QUERIES_MAX = 256
BATCH_MATCHES_MAX = BATCH_QUERIES_MAX * 10
BATCH_JSON_SIZE_BYTES_MAX = 2 * 1024 * 1024
BATCH_FORM_SIZE_BYTES_MAX = 32 * 1024 * 1024
# So many of a batch's queries are worked on at once: others come in between.
BATCH_CONCURRENCY = 16
_STAGE_SECONDS = {field.name: SEARCH_SECONDS.labels(field.name) for field in fields(Timing)}
_EXPLAIN_SECONDS = SEARCH_SECONDS.labels("explain")

router = APIRouter()


@router.post(
    "/v1/search",
    responses=describe_problems(400, 404, 409, 412, 413, 415, 422, 503),
    openapi_extra=described_body(),
)
async def search(
    request: Request,
    k: K = 10,
    max_distance: MaxDistance = None,
    min_offsets: MinOffsets = None,
    wait_ms: WaitMs = 0,
    explain: Explain = False,
    sort: SortBy = "best",
    effort: HowThorough = "normal",
) -> SearchAnswer:
    """Find the nearest images: exact, Euclidean, ties by id.

    The body is an image (PNG, JPEG, WebP, AVIF, HEIC, GIF, BMP or TIFF), a form with the field `file`, `{"image_id": …}` or `{"embedding": [numbers]}`.
    """
    start_s = time.perf_counter()
    check_sort(sort, is_explained=explain)
    road = services(request)
    wanted = read_min_offsets(min_offsets, road)
    asked = await _read_question(request)
    if explain and isinstance(asked, ByEmbedding):
        raise explain_needs_image()
    is_thorough = effort == "thorough"
    if is_thorough and not isinstance(asked, bytes):
        raise effort_needs_image()
    if wanted:
        await wait_covered(wanted, wait_ms, road)
    snapshot = road.snapshot()
    looked = await _look(asked, snapshot, k, max_distance, road, is_thorough=is_thorough)
    lookup_s = time.perf_counter()
    records, is_complete = await road.details.records([match.source for match in looked.matches])
    lookup_ms = (time.perf_counter() - lookup_s) * 1000
    explained: dict[RecordKey, Explanation] = {}
    degraded = [*([] if is_complete else ["metadata"]), *road.stalled_parts()]
    if explain:
        with _EXPLAIN_SECONDS.time():
            explained = await road.explanations.explain(
                looked.query, looked.matches, records, road.queries_for(snapshot).kind, looked.hypotheses
            )
        if len(explained) < len(looked.matches):
            degraded.append("verdict")
    timing = _timing([looked], start_s, lookup_ms)
    for stage, seconds in _STAGE_SECONDS.items():
        seconds.observe(getattr(timing, stage) / 1000)
    return SearchAnswer(
        matches=ordered(_matches(looked, records, explained), sort),
        coverage=coverage_of(snapshot.manifest, road.ends),
        degraded=degraded,
        timing_ms=timing,
    )


@router.post(
    "/v1/search/batch",
    responses=describe_problems(400, 412, 413, 415, 503),
    openapi_extra=described_body(many=BATCH_QUERIES_MAX),
)
async def search_batch(
    request: Request, k: K = 10, max_distance: MaxDistance = None, min_offsets: MinOffsets = None, wait_ms: WaitMs = 0
) -> BatchAnswer:
    """Answer up to 256 queries from one generation, in their order; at most 2,560 matches in all.

    The body is a form with up to 256 fields `file`, or `{"queries": [{"image_id": …} or {"embedding": [numbers]}, …]}`. A query
    that cannot be answered, such as an image that cannot be decoded, has a `problem` instead of matches; the others are answered.
    Always nearest first, without verdicts or hypotheses: `explain`, `sort` and `effort` are refused, ask for those one by one.
    """
    start_s = time.perf_counter()
    _refuse_in_batch(request)
    road = services(request)
    wanted = read_min_offsets(min_offsets, road)
    asked = await _read_questions(request)
    if len(asked) * k > BATCH_MATCHES_MAX:
        raise ProblemError(
            400,
            "too-many-matches",
            f"{len(asked)} queries with k={k} ask for {len(asked) * k} matches, at most {BATCH_MATCHES_MAX} are given at "
            "once. Send fewer queries or a smaller k.",
        )
    if wanted:
        await wait_covered(wanted, wait_ms, road)
    snapshot = road.snapshot()
    answered: list[_Looked | ProblemError] = []
    for at in range(0, len(asked), BATCH_CONCURRENCY):
        part = asked[at : at + BATCH_CONCURRENCY]
        answered += await asyncio.gather(*(_look_or_problem(each, snapshot, k, max_distance, road) for each in part))
    looked = [found for found in answered if isinstance(found, _Looked)]
    lookup_s = time.perf_counter()
    sources = {match.source for found in looked for match in found.matches}
    records, is_complete = await road.details.records(list(sources))
    lookup_ms = (time.perf_counter() - lookup_s) * 1000
    return BatchAnswer(
        answers=[
            QueryAnswer(matches=_matches(found, records, {}), problem=None)
            if isinstance(found, _Looked)
            else QueryAnswer(matches=None, problem=found.body())
            for found in answered
        ],
        coverage=coverage_of(snapshot.manifest, road.ends),
        degraded=[*([] if is_complete else ["metadata"]), *road.stalled_parts()],
        timing_ms=_timing(looked, start_s, lookup_ms),
    )


def _refuse_in_batch(request: Request) -> None:
    for name in ("explain", "sort", "effort"):
        if name in request.query_params:
            raise ProblemError(
                400, f"{name}-in-batch", f"A batch does not take {name}; send such a query to /v1/search by itself."
            )


class _Looked(NamedTuple):
    query: SearchQuery
    matches: list[Match]
    search_ms: float
    hypotheses: Mapping[str, str] = {}


async def _look(
    asked: Question,
    snapshot: Snapshot,
    k: int,
    max_distance: float | None,
    road: Services,
    *,
    is_thorough: bool = False,
) -> _Looked:
    if isinstance(asked, bytes) and is_thorough:
        query = await road.queries_for(snapshot).encode_thoroughly(asked)
        matches, hypotheses, took_s = await search_hypotheses(query, snapshot, k, max_distance, road.searches)
        return _Looked(query, matches, took_s * 1000, hypotheses)
    if isinstance(asked, bytes):
        query = await road.queries_for(snapshot).encode(asked)
    elif isinstance(asked, ById):
        query = await _with_id(asked.image_id, snapshot, road)
    else:
        asked.check_encoder(snapshot.manifest.encoder, snapshot.dimensions)
        query = SearchQuery(np.array(asked.embedding, np.float32))

    matches, took_s = await road.searches.run(lambda: snapshot.search(query.embedding, k, max_distance))
    return _Looked(query, matches, took_s * 1000)


async def _look_or_problem(
    asked: Question, snapshot: Snapshot, k: int, max_distance: float | None, road: Services
) -> _Looked | ProblemError:
    """What was found, or why this query alone cannot be answered."""
    try:
        return await _look(asked, snapshot, k, max_distance, road)
    except RejectedError as error:
        return rejected_problem(error)
    except ProblemError as error:
        if error.status >= 500 or error.code == "bad-embedding":  # not this query's fault, or no query at all
            raise
        return error


async def _read_question(request: Request) -> Question:
    if content_type(request) != "application/json":
        return (await read_upload(request)).value
    return read_question(await read_body(request, JSON_SIZE_BYTES_MAX))


async def _read_questions(request: Request) -> Sequence[Question]:
    if content_type(request) != "application/json":
        return await read_uploads(request, BATCH_QUERIES_MAX, BATCH_FORM_SIZE_BYTES_MAX)
    return read_questions(await read_body(request, BATCH_JSON_SIZE_BYTES_MAX), BATCH_QUERIES_MAX)


async def _with_id(image_id: str, snapshot: Snapshot, road: Services) -> SearchQuery:
    """The query that an image of the gallery makes; its hashes come from its record where that is known."""
    found = snapshot.find(image_id)
    if found is None:
        raise unknown_image(image_id)
    records, _ = await road.details.records([found.source])
    query = SearchQuery(found.embedding)
    if (record := records.get(found.source)) is not None:
        shown = Shown(record.thumbnail, record.width, record.height)
        query = replace(query, bytes_sha256=record.bytes_sha256, pixels_sha256=record.pixels_sha256, shown=shown)
    return query


def unknown_image(image_id: str, not_shown: NotShownRecord | None = None) -> ProblemError:
    """404: no image has this id in the generation that is served, perhaps because its newest record is not shown."""
    detail = f"No image has the id {image_id[:300]!r} in the index. "
    if not_shown:
        detail += (
            f"Its newest record, {not_shown.log} {not_shown.partition}:{not_shown.offset}, is set aside "
            f"({not_shown.reason}): publish it again."
        )
    else:
        detail += "If it was published just now, wait with min_offsets."
    return ProblemError(404, "unknown-image", detail)


def _matches(
    looked: _Looked, records: dict[RecordKey, ImageRecord], explained: dict[RecordKey, Explanation]
) -> list[SearchMatch]:
    return [
        _match(
            match,
            records.get(match.source),
            looked.query,
            explained.get(match.source),
            looked.hypotheses.get(match.image_id),
        )
        for match in looked.matches
    ]


def _match(
    match: Match, record: ImageRecord | None, query: SearchQuery, told: Explanation | None, hypothesis: str | None
) -> SearchMatch:
    return SearchMatch(
        id=match.image_id,
        distance=match.distance,
        metadata=metadata_object(record),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        same_bytes=record.bytes_sha256 == query.bytes_sha256 if record and query.bytes_sha256 else None,
        same_pixels=record.pixels_sha256 == query.pixels_sha256 if record and query.pixels_sha256 else None,
        truncated=record.is_truncated if record else None,
        thumbnail_url=image_url(match.image_id, match.source, "thumbnail"),
        source=source_of(match.source, match.kafka_time_ms),
        larger=larger_by(record, query.shown),
        hypothesis=hypothesis,
        verdict=told.verdict if told else None,
        edits=told.edits if told else None,
        alignment=told.alignment if told else None,
        residual=told.residual if told else None,
        confidence=told.confidence if told else None,
        outline=told.outline if told else None,
    )


def metadata_object(record: ImageRecord | None) -> dict[str, Any] | None:
    """A record's metadata as an object: {} without any, None while the record is unknown."""
    if record is None:
        return None
    parsed: dict[str, Any] = msgspec.json.decode(record.metadata) if record.metadata else {}
    return parsed


def _timing(looked: list[_Looked], start_s: float, lookup_ms: float) -> Timing:
    """What each stage took for all of them; they were worked on side by side, so the total may be less than the sum."""
    return Timing(
        decode=_rounded(sum(found.query.decode_ms for found in looked)),
        encode=_rounded(sum(found.query.encode_ms for found in looked)),
        search=_rounded(sum(found.search_ms for found in looked)),
        lookup=_rounded(lookup_ms),
        total=_rounded((time.perf_counter() - start_s) * 1000),
    )


def _rounded(milliseconds: float) -> float:
    return round(milliseconds, 3)
