"""`GET /v1/index` and its event stream: what is served, how fresh it is, what arrives."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.answers.index import IndexAnswer
from api.answers.problems import describe_problems
from api.live.collections import services_of
from api.live.index_state import index_answer

# Ten a second look like motion, whatever the indexer's pace.
EVENT_INTERVAL_S = 0.1
# A browser that lost the stream asks again after so long.
RECONNECT_MS = 1000

router = APIRouter()


@router.get("/index", responses=describe_problems(503))
async def index(request: Request) -> IndexAnswer:
    """The state of the index as this process serves it."""
    return index_answer(services_of(request))


@router.get("/index/events", response_class=EventSourceResponse, responses=describe_problems(503))
async def events(request: Request) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named `index`, each the body of `GET /v1/index`: one at once, then one at each change."""
    services = services_of(request)
    sent: IndexAnswer | None = None
    while not services.served.is_closing:
        if services.served.snapshot is not None:
            answer = index_answer(services)
            if sent is None or _differs(answer, sent):
                sent = answer
                yield ServerSentEvent(event="index", data=answer, retry=RECONNECT_MS)
                await asyncio.sleep(EVENT_INTERVAL_S)
                continue
        await services.served.wait_change(60.0)


def _differs(answer: IndexAnswer, sent: IndexAnswer) -> bool:
    return answer.model_copy(update={"age_s": sent.age_s}) != sent
