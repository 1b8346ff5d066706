"""A span of each request, where traces are on."""

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import get_contextvars

from contract.origin import TRACE_HEADER, sound_traceparent
from runtime.tracing import TRACEPARENT, TRACING


class TracedRequests:
    """Stands before all routes of the API. Event streams, which stay open, have no span."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if TRACING.recorder is None or scope["type"] != "http" or not _is_traced(get_route_path(scope)):
            await self._app(scope, receive, send)
            return
        given = sound_traceparent(Headers(scope=scope).get(TRACE_HEADER, ""))
        about = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "lookalike.request.id": get_contextvars().get("request_id", ""),
        }
        span = TRACING.begin(scope["method"], parent=given, kind="server", attributes=about)
        assert span is not None
        TRACEPARENT.set(span.traceparent)
        status = 0

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            route = _route(scope)
            failure = "" if 0 < status < 500 else f"status {status}"
            span.end(
                name=f"{scope['method']} {route}".strip(),
                failure=failure,
                attributes={"http.response.status_code": status, "http.route": route},
            )


def _route(scope: Scope) -> str:
    """The path with the names of its parameters, so that spans have few names; "" where there is no such route."""
    if "route" not in scope:
        return ""
    route = get_route_path(scope)
    for name, value in scope.get("path_params", {}).items():
        route = route.replace(f"/{value}", f"/{{{name}}}", 1)
    return route


def _is_traced(path: str) -> bool:
    return path.startswith("/v1/") and not path.endswith("/events")
