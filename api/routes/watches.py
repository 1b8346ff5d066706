"""`/v1/watches`: standing queries, what matched them, and the event stream of that."""

from collections.abc import AsyncIterator
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import ValidationError
from starlette._utils import get_route_path

from api.answers.finding import find_image
from api.answers.images import unknown_image
from api.answers.problems import ProblemError, describe_problems
from api.answers.queries import Query as SearchQuery
from api.answers.questions import ByEmbedding, ById, Question
from api.answers.records import ROOT_PATH
from api.answers.watches import (
    NAME_MAX,
    WEBHOOK_MAX,
    CreatedWatch,
    MatchAnswer,
    MatchesAnswer,
    NewWatch,
    WatchAnswer,
    WatchesAnswer,
    check_webhook,
    created_answer,
    match_answer,
    watch_answer,
)
from api.live.collections import services_of
from api.live.services import Services
from api.routes.bodies import content_type, read_body, read_upload
from api.routes.body_memory import take_memory
from api.routes.parameters import FilterText
from api.routes.questions import read_asked_filter
from api.routes.search import JSON_SIZE_BYTES_MAX
from api.routes.writers import check_writer
from contract.formats import MEDIA_TYPES
from contract.messages import check_value
from model.verdicts.frames import Shown

MATCHES_MAX = 1000
_RECONNECT_MS = 1000

_FILE = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "string", "format": "binary"}},
    }
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            **dict.fromkeys(MEDIA_TYPES, _FILE),
            "multipart/form-data": _FORM,
            "application/json": {"schema": NewWatch.model_json_schema()},
        },
    }
}
WatchId = Annotated[str, Path(min_length=1, max_length=64, pattern="^[0-9a-f]+$", description="The watch's id.")]

router = APIRouter()


@router.post(
    "/watches",
    status_code=201,
    responses=describe_problems(400, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=_BODY,
)
async def create_watch(
    request: Request,
    response: Response,
    max_distance: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="Of a watch that is sent as an image.")
    ] = None,
    name: Annotated[str, Query(max_length=NAME_MAX, description="The same.")] = "",
    webhook: Annotated[str, Query(max_length=WEBHOOK_MAX, description="The same.")] = "",
    filter_text: FilterText = None,
) -> CreatedWatch:
    """Be told of every image that matches from now on: on the topic of matches, as an event, and at the webhook.

    The body is an image or a form with the field `file`, with `max_distance`, `name` and `webhook` as parameters; or JSON with
    `image_id` or `embedding`. An image of the gallery is watched as it is now. Records count that Kafka did not have yet, each
    once; a repeat has the same `id`. The secret of the webhook's signatures is told in this answer alone.
    """
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    question: Question
    told: object
    if content_type(request) == "application/json":
        asked = _read_new_watch(await read_body(request, JSON_SIZE_BYTES_MAX))
        question, max_distance, name, webhook = asked.question(), asked.max_distance, asked.name, asked.webhook
        told = asked.filter
    else:
        upload = await read_upload(request)
        question, told = upload.value, upload.filter
    wanted = read_asked_filter(filter_text, told)
    if max_distance is None:
        raise ProblemError(
            400, "missing-max-distance", "The parameter max_distance is missing: how far a match may be away."
        )
    check_webhook(webhook)
    query, image, encoder = await _query_of(request, question, services)
    watch = await services.watching.create(
        query,
        image,
        encoder=encoder,
        max_distance=max_distance,
        name=name,
        webhook=webhook,
        filter_text=wanted.text if wanted else "",
    )
    response.headers["Location"] = f"{ROOT_PATH.get()}{get_route_path(request.scope)}/{watch.id}"
    return created_answer(watch)


@router.get("/watches", responses=describe_problems(503))
async def watches(request: Request) -> WatchesAnswer:
    """All standing queries, oldest first."""
    return WatchesAnswer(watches=[watch_answer(watch) for watch in await services_of(request).watching.all()])


@router.get("/watches/events", response_class=EventSourceResponse, responses=describe_problems(400))
async def watch_events(
    request: Request,
    watch: Annotated[str | None, Query(description="Only what matches this watch.")] = None,
    after: Annotated[
        int | None, Query(ge=0, description="From here on, as `next` of the newest matches says it.")
    ] = None,
    last_event_id: Annotated[str | None, Header(description="As browsers send it when they connect again.")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named `match`, one for each image that matches a watch; without `after` from now on.

    The last 10,000 matches are kept, so a stream that broke off goes on where it was.
    """
    services = services_of(request)
    if last_event_id is not None and last_event_id.isascii() and last_event_id.isdecimal():
        after = int(last_event_id[:18]) + 1
    async for numbered in services.watching.follow(after, lambda: services.served.is_closing):
        if watch is None or numbered.match.watch == watch:
            yield ServerSentEvent(
                event="match", data=match_answer(numbered), id=str(numbered.offset), retry=_RECONNECT_MS
            )


@router.get("/watches/{id}", responses=describe_problems(400, 404, 503))
async def one_watch(request: Request, id: WatchId) -> WatchAnswer:
    """One standing query."""
    return watch_answer(await services_of(request).watching.get(id))


@router.delete("/watches/{id}", status_code=204, responses=describe_problems(400, 403, 404, 503))
async def delete_watch(request: Request, id: WatchId) -> None:
    """Delete a standing query: nothing more is told about a second later."""
    services = services_of(request)
    check_writer(request, services.settings.api_allowed_hosts)
    await services.watching.delete(id)


@router.get("/watches/{id}/matches", responses=describe_problems(400, 404, 503))
async def watch_matches(
    request: Request,
    id: WatchId,
    limit: Annotated[int, Query(ge=1, le=MATCHES_MAX, description="How many at most.")] = 50,
) -> MatchesAnswer:
    """What matched a watch last, newest first, among the last 10,000 matches of all watches; repeats are left out."""
    services = services_of(request)
    await services.watching.get(id)
    kept, next_offset, is_complete = await services.watching.newest()
    found: dict[str, MatchAnswer] = {}
    for numbered in reversed(kept):
        if numbered.match.watch == id and len(found) < limit:
            found.setdefault(numbered.match.id, match_answer(numbered))
    return MatchesAnswer(matches=list(found.values()), next=next_offset, degraded=[] if is_complete else ["matches"])


@router.get("/watches/{id}/image", response_class=Response, responses=describe_problems(400, 404, 503))
async def watch_image(request: Request, id: WatchId) -> Response:
    """The image that a standing query was made of, as it was given."""
    value = await services_of(request).watching.image(id)
    await take_memory(request, len(value))
    return Response(value, media_type=check_value(value), headers={"Cache-Control": "private, max-age=3600"})


def _read_new_watch(body: bytes) -> NewWatch:
    try:
        asked = NewWatch.model_validate_json(body)
        asked.question()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        name = str(first["loc"][0]).replace("_", "-") if first["loc"] else "json"
        raise ProblemError(400, f"bad-{name}", f"{where[:100]}: {first['msg']}. See /docs for examples.") from error
    return asked


async def _query_of(request: Request, question: Question, services: Services) -> tuple[SearchQuery, bytes | None, str]:
    """The query that is watched, its image if it has one, and the fingerprint of the encoder that made it."""
    served = await services.generation()
    encoder = served.snapshot.manifest.encoder
    if isinstance(question, bytes):
        return await served.queries.encode(question), question, encoder
    if isinstance(question, ByEmbedding):
        question.check_encoder(encoder, served.snapshot.dimensions)
        return SearchQuery(np.array(question.embedding, np.float32)), None, encoder
    assert isinstance(question, ById)
    found = await find_image(served.snapshot, question.image_id)
    if found is None:
        raise unknown_image(question.image_id)
    record = await services.records.record(found.source)
    await take_memory(request, record.size_bytes if record else 0)
    value = await services.records.original(found.source)
    if record is None or value is None:
        raise unknown_image(question.image_id)
    shown = Shown(value, record.width, record.height)
    query = SearchQuery(found.embedding, record.bytes_sha256, record.pixels_sha256, shown)
    return query, value, encoder
