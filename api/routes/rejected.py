"""`GET /v1/rejected`: the records that were refused last, read from the rejected topic."""

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request

from api.answers.problems import describe_problems
from api.answers.rejected import RejectedAnswer
from api.live.rejections import REJECTED_MAX
from api.live.services import services_of

router = APIRouter()


@router.get("/v1/rejected", responses=describe_problems(400))
async def rejected(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=REJECTED_MAX, description="How many at most.")] = 20,
) -> RejectedAnswer:
    """The records that were refused last, newest first, each with its reason."""
    services = services_of(request)
    records, is_complete = await anyio.to_thread.run_sync(services.rejections.newest)
    return RejectedAnswer(rejected=records[:limit], degraded=[] if is_complete else ["rejected"])
