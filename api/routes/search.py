"""`POST /v1/search` and `/v1/search/batch`: the nearest images to an image, an id or an embedding, or to many at once."""

import time
from collections.abc import Sequence

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.answers.fields import read_fields, with_fields
from api.answers.ordering import check_sort
from api.answers.problems import ProblemError, describe_problems
from api.answers.questions import Question, Wanted
from api.answers.search import SEARCH_ANSWER, BatchAnswer, SearchAnswer
from api.live.collections import services_of
from api.live.services import Services
from api.routes.bodies import content_type, read_body, read_upload, read_uploads
from api.routes.body_memory import take_memory
from api.routes.offsets import read_asked_as_of, read_min_offsets, wait_covered
from api.routes.parameters import AsOfTime, FilterText, K, MaxDistance, MinOffsets, SearchParameters, WaitMs
from api.routes.query_string import described_query, read_query
from api.routes.questions import described_body, read_asked_filter, read_question, read_questions
from api.routes.writers import check_writer
from contract.messages import IMAGE_SIZE_BYTES_MAX

# 512 numbers of 20 digits are 11 kB.
JSON_SIZE_BYTES_MAX = 64 * 1024
BATCH_QUERIES_MAX = 256
BATCH_MATCHES_MAX = BATCH_QUERIES_MAX * 10
BATCH_JSON_SIZE_BYTES_MAX = 2 * 1024 * 1024
BATCH_FORM_SIZE_BYTES_MAX = 32 * 1024 * 1024

router = APIRouter()


@router.post(
    "/search",
    response_model=SearchAnswer,
    responses=describe_problems(400, 403, 404, 409, 410, 412, 413, 415, 422, 502, 503),
    openapi_extra={**described_body(), "parameters": described_query(SearchParameters)},
)
async def search(request: Request) -> Response:
    """Find the nearest images: exact, Euclidean, ties by id.

    The body is an image (PNG, JPEG, WebP, AVIF, HEIC, GIF, BMP or TIFF), a form with the field `file`, `{"image_id": …}` or `{"embedding": [numbers]}`.
    With `url` there is none. A form or JSON may have `filter` too.
    """
    began_s = time.perf_counter()
    given = read_query(request, SearchParameters)
    check_sort(given.sort, is_explained=given.explain)
    services = services_of(request)
    if given.generation is not None and given.min_offsets:
        raise ProblemError(
            400, "generation-and-min-offsets", "generation and min_offsets may name different states: give one of them."
        )
    asked, names = read_asked_as_of(given.as_of, services), read_fields(given.fields)
    offsets = read_min_offsets(given.min_offsets, services)
    question, told = await (_read_question(request) if given.url is None else _fetch(request, given.url, services))
    wanted = Wanted(
        k=given.k, max_distance=given.max_distance, explain=given.explain, sort=given.sort, effort=given.effort,
        as_of=asked, filter=read_asked_filter(given.filter_text, told), offset=given.offset, fields=names,
    )  # fmt: skip
    wanted.check(question)
    await wait_covered(offsets, given.wait_ms, services, asked)
    served = await services.generation(given.generation, given.index_id)
    answer = await services.searcher_for(served.snapshot).answer(question, served, wanted, began_s=began_s)
    if names is not None:
        return JSONResponse(with_fields(answer, names))
    return Response(SEARCH_ANSWER.dump_json(answer), media_type="application/json")


@router.post(
    "/search/batch",
    responses=describe_problems(400, 410, 412, 413, 415, 503),
    openapi_extra=described_body(many=BATCH_QUERIES_MAX),
)
async def search_batch(
    request: Request,
    k: K = 10,
    max_distance: MaxDistance = None,
    min_offsets: MinOffsets = None,
    wait_ms: WaitMs = 0,
    as_of: AsOfTime = None,
    filter_text: FilterText = None,
) -> BatchAnswer:
    """Answer up to 256 queries from one generation, in their order; at most 2,560 matches in all.

    The body is a form with up to 256 fields `file`, or `{"queries": [{"image_id": …} or {"embedding": [numbers]}, …]}`. A query
    that cannot be answered, such as an image that cannot be decoded, has a `problem` instead of matches; the others are answered.
    Always nearest first, without verdicts or hypotheses: `explain`, `sort` and `effort` are refused, ask for those one by one.
    """
    began_s = time.perf_counter()
    _refuse_in_batch(request)
    services = services_of(request)
    asked, offsets = read_asked_as_of(as_of, services), read_min_offsets(min_offsets, services)
    questions, told = await _read_questions(request)
    condition = read_asked_filter(filter_text, told)
    if len(questions) * k > BATCH_MATCHES_MAX:
        raise ProblemError(
            400,
            "too-many-matches",
            f"{len(questions)} queries with k={k} ask for {len(questions) * k} matches, at most {BATCH_MATCHES_MAX} are given "
            "at once. Send fewer queries or a smaller k.",
        )
    await wait_covered(offsets, wait_ms, services, asked)
    wanted = Wanted(k=k, max_distance=max_distance, as_of=asked, filter=condition)
    served = await services.generation()
    return await services.searcher_for(served.snapshot).answer_all(questions, served, wanted, began_s=began_s)


def _refuse_in_batch(request: Request) -> None:
    for name in ("explain", "sort", "effort", "url", "offset", "generation", "index_id", "with"):
        if name in request.query_params:
            raise ProblemError(
                400, f"{name}-in-batch", f"A batch does not take {name}; send such a query to /v1/search by itself."
            )


async def _fetch(request: Request, url: str, services: Services) -> tuple[Question, object]:
    services.addresses.check()
    check_writer(request, services.settings.api_allowed_hosts)  # or any foreign page could have this API ask around
    if await read_body(request, JSON_SIZE_BYTES_MAX):
        raise ProblemError(
            400, "two-queries", "The request has a body and names an address with url: send one of them."
        )
    await take_memory(request, IMAGE_SIZE_BYTES_MAX)
    return await services.addresses.fetch(url), None


async def _read_question(request: Request) -> tuple[Question, object]:
    if content_type(request) != "application/json":
        upload = await read_upload(request)
        return upload.value, upload.filter
    return read_question(await read_body(request, JSON_SIZE_BYTES_MAX))


async def _read_questions(request: Request) -> tuple[Sequence[Question], object]:
    if content_type(request) != "application/json":
        return await read_uploads(request, BATCH_QUERIES_MAX, BATCH_FORM_SIZE_BYTES_MAX)
    return read_questions(await read_body(request, BATCH_JSON_SIZE_BYTES_MAX), BATCH_QUERIES_MAX)
