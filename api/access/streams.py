"""Event streams stay open, and each costs a little at every change: there are so many and no more."""

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers.problems import ProblemError, problem_response

EVENT_STREAMS_MAX = 200


class BoundedStreams:
    """Refuses event streams beyond a number of them."""

    def __init__(self, app: ASGIApp, count_max: int = EVENT_STREAMS_MAX) -> None:
        self._app = app
        self._count_max = count_max
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not get_route_path(scope).endswith("/events"):
            await self._app(scope, receive, send)
            return
        if self._count >= self._count_max:
            problem = ProblemError(
                503,
                "too-many-streams",
                f"{self._count_max} event streams are open already; try again later.",
                retry=True,
            )
            await problem_response(problem)(scope, receive, send)
            return
        self._count += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._count -= 1
