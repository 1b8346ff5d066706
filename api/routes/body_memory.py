"""Memory for large bodies: what all requests hold of them together is bounded, so that a crowd cannot fill it."""

import asyncio
import contextlib
from collections import deque
from typing import NamedTuple

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers.problems import ProblemError

# Four of the largest images. A body is copied up to three times on its way to Kafka, a child or a client.
MEMORY_SIZE_BYTES = 128 * 1024 * 1024
# Smaller bodies are free: digits and most questions wait for nobody.
FREE_SIZE_BYTES_MAX = 64 * 1024
WAIT_S_MAX = 30.0


class _Waiting(NamedTuple):
    size_bytes: int
    turn: asyncio.Future[None]


class BodyMemory:
    """Bytes that requests may hold at once; who does not fit in waits, and whoever came first goes first. Used on the event loop only."""

    def __init__(self, size_bytes: int = MEMORY_SIZE_BYTES, wait_s_max: float = WAIT_S_MAX) -> None:
        self._free_bytes = size_bytes
        self._wait_s_max = wait_s_max
        self._waiting: deque[_Waiting] = deque()

    async def take(self, size_bytes: int) -> None:
        """Wait for so much of it; at most as much as there is in all.

        Raises:
            ProblemError: 503 ``busy`` when it would take too long.
        """
        if not self._waiting and size_bytes <= self._free_bytes:
            self._free_bytes -= size_bytes
            return
        loop = asyncio.get_running_loop()
        waiting = _Waiting(size_bytes, loop.create_future())
        self._waiting.append(waiting)
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._wait_s_max):
                await waiting.turn
        except BaseException as error:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.give_back(size_bytes)
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(waiting)
                self._let_in()  # it may have stood before a smaller one
            if not isinstance(error, TimeoutError):
                raise
            raise ProblemError(
                503,
                "busy",
                f"Other large bodies have been in the way for {loop.time() - began_s:.0f} s; try again later.",
                retry=True,
            ) from error

    def give_back(self, size_bytes: int) -> None:
        """Let in those who wait, as far as there is memory."""
        self._free_bytes += size_bytes
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._waiting[0].size_bytes <= self._free_bytes:
            waiting = self._waiting.popleft()
            if not waiting.turn.cancelled():
                self._free_bytes -= waiting.size_bytes
                waiting.turn.set_result(None)


class LimitedBodies:
    """Gives each request a share of one memory for bodies, and takes it back when the request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._memory = BodyMemory()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        share = scope["body_memory"] = _Share(self._memory)
        try:
            await self._app(scope, receive, send)
        finally:
            share.give_back()


class _Share:
    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._size_bytes = 0

    async def take(self, size_bytes: int) -> None:
        assert self._size_bytes == 0, "who holds some and waits for more may wait for himself"
        await self._memory.take(size_bytes)
        self._size_bytes = size_bytes

    def give_back(self) -> None:
        if self._size_bytes:
            self._memory.give_back(self._size_bytes)


async def take_memory(request: Request, size_bytes: int) -> None:
    """Wait for memory for a body of this size, which the request then holds until it is answered; once a request.

    Raises:
        ProblemError: 503 ``busy``.
    """
    if size_bytes > FREE_SIZE_BYTES_MAX:
        share: _Share = request.scope["body_memory"]
        await share.take(size_bytes)
