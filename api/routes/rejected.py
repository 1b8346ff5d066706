"""`GET /v1/rejected`: the records that were refused last, read from the rejected topic."""

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request

from api.answers.problems import describe_problems
from api.answers.records import Source
from api.answers.rejected import RejectedAnswer, RejectedRecord
from api.live.collections import services_of
from topics.rejected import NEWEST_MAX, RejectedMessage

router = APIRouter()


@router.get("/rejected", responses=describe_problems(400))
async def rejected(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=NEWEST_MAX, description="How many at most.")] = 20,
) -> RejectedAnswer:
    """The records that were refused last, newest first, each with its reason."""
    newest, is_complete = await anyio.to_thread.run_sync(services_of(request).rejected.read)
    return RejectedAnswer(
        rejected=[_record(message) for message in newest[:limit]], degraded=[] if is_complete else ["rejected"]
    )


def _record(message: RejectedMessage) -> RejectedRecord:
    rejection = message.rejection
    return RejectedRecord(
        key=message.key_text,
        reason=rejection.reason,
        detail=rejection.detail,
        size_bytes=message.size_bytes,
        source=Source(**rejection.key._asdict(), timestamp=message.time_ms),
    )
