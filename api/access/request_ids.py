"""Gives every request an id that its answer, its problem, each line of the log and the record that it publishes carry."""

import time
import uuid

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, get_contextvars

from contract.origin import REQUEST_HEADER, sound_request_id

SLOW_S = 1.0
# What says that the image or the question itself is at fault. Others are told to their client alone, who may be anybody.
_TOLD_STATUSES = {400, 413, 415, 422}

logger = structlog.get_logger()


class RequestIds:
    """Stands before everything else. A request's own `X-Request-Id` is taken if it is sound."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = sound_request_id(Headers(scope=scope).get(REQUEST_HEADER, "")) or uuid.uuid4().hex
        bind_contextvars(request_id=request_id)  # of the task that the server makes of each request
        began_s, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)
        _tell(scope, status, time.perf_counter() - began_s)


def _tell(scope: Scope, status: int, took_s: float) -> None:
    """A line about what was refused or slow; waiting that was asked for, and streams, are not slow."""
    is_slow = took_s > SLOW_S and b"wait_ms" not in scope["query_string"] and not scope["path"].endswith("/events")
    if status < 500 and status not in _TOLD_STATUSES and not is_slow:
        return
    code = {"code": found} if (found := get_contextvars().get("code")) else {}
    tell = logger.warning if status >= 500 else logger.info
    event = "request refused" if status >= 400 else "slow request"
    tell(event, method=scope["method"], path=scope["path"], status=status, ms=round(took_s * 1000, 1), **code)
