"""Memory for large bodies: what all requests hold of them together is bounded, so that a crowd cannot fill it."""

import asyncio
import contextlib
from collections import Counter, deque
from typing import NamedTuple

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.answers.fair_queue import ASKED_BY, over_share
from api.answers.problems import ProblemError

# Four of the largest images. A body is copied up to three times on its way to Kafka, a child or a client.
MEMORY_SIZE_BYTES = 128 * 1024 * 1024
# Of it, what is kept for bodies of up to a megabyte, so that these never wait behind larger ones.
SMALL_MEMORY_SIZE_BYTES = 16 * 1024 * 1024
SMALL_SIZE_BYTES_MAX = 1024 * 1024
# Smaller bodies are free: digits and most questions wait for nobody.
FREE_SIZE_BYTES_MAX = 64 * 1024
WAIT_S_MAX = 10.0
# A client that holds so much of the memory waits until it holds less, and others go first. The largest body fits.
CLIENT_SHARE = 0.6
# So many bodies of one client wait; beyond that it is told to come again.
CLIENT_WAITING_MAX = 4
# Sending a large body again costs both sides, so not at once.
RETRY_LARGE_S = 5


class _Waiting(NamedTuple):
    size_bytes: int
    client: str
    turn: asyncio.Future[None]


class BodyMemory:
    """Bytes that requests may hold at once; who does not fit in waits. Used on the event loop only.

    Whoever came first goes first, but a client that holds its share already lets others pass.
    """

    def __init__(self, size_bytes: int = MEMORY_SIZE_BYTES, wait_s_max: float = WAIT_S_MAX) -> None:
        self._free_bytes = size_bytes
        self._share_bytes = size_bytes * CLIENT_SHARE
        self._wait_s_max = wait_s_max
        self._held: Counter[str] = Counter()
        self._waiting: deque[_Waiting] = deque()

    async def take(self, size_bytes: int, client: str = "") -> None:
        """Wait for so much of it; at most as much as there is in all.

        Raises:
            ProblemError: 503 ``busy`` when it would take too long; 429 ``over-share`` when too many of this client wait already.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(size_bytes, client, loop.create_future())
        is_first = all(self._has_share(other) for other in self._waiting)
        if is_first and size_bytes <= self._free_bytes and not self._has_share(waiting):
            self._let(waiting)
            return
        if client and (count := sum(other.client == client for other in self._waiting)) >= CLIENT_WAITING_MAX:
            raise over_share(count, RETRY_LARGE_S)
        self._waiting.append(waiting)
        began_s = loop.time()
        try:
            async with asyncio.timeout(self._wait_s_max):
                await waiting.turn
        except BaseException as error:
            if waiting.turn.done() and not waiting.turn.cancelled():
                self.give_back(size_bytes, client)
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

    def give_back(self, size_bytes: int, client: str = "") -> None:
        """Let in those who wait, as far as there is memory."""
        self._free_bytes += size_bytes
        self._held[client] -= size_bytes
        if self._held[client] <= 0:
            del self._held[client]
        self._let_in()

    def _let_in(self) -> None:
        for waiting in list(self._waiting):
            if self._has_share(waiting):
                continue
            if waiting.size_bytes > self._free_bytes:
                return
            self._waiting.remove(waiting)
            if not waiting.turn.cancelled():
                self._let(waiting)
                waiting.turn.set_result(None)

    def _has_share(self, waiting: _Waiting) -> bool:
        """Whether its client would hold more than its share with it; one body is always let in. Nobody is no client."""
        held = self._held[waiting.client] if waiting.client else 0
        return held > 0 and held + waiting.size_bytes > self._share_bytes

    def _let(self, waiting: _Waiting) -> None:
        self._free_bytes -= waiting.size_bytes
        self._held[waiting.client] += waiting.size_bytes


class LimitedBodies:
    """Gives each request a share of one memory for bodies, and takes it back when the request is answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._small = BodyMemory(SMALL_MEMORY_SIZE_BYTES)
        self._large = BodyMemory(MEMORY_SIZE_BYTES - SMALL_MEMORY_SIZE_BYTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        share = scope["body_memory"] = _Share(self._small, self._large)
        try:
            await self._app(scope, receive, send)
        finally:
            share.give_back()


class _Share:
    def __init__(self, small: BodyMemory, large: BodyMemory) -> None:
        self._small, self._large = small, large
        self._client = ASKED_BY.get()
        self._size_bytes = 0

    async def take(self, size_bytes: int) -> None:
        assert self._size_bytes == 0, "who holds some and waits for more may wait for himself"
        await self._memory_for(size_bytes).take(size_bytes, self._client)
        self._size_bytes = size_bytes

    def give_back(self) -> None:
        if self._size_bytes:
            self._memory_for(self._size_bytes).give_back(self._size_bytes, self._client)

    def _memory_for(self, size_bytes: int) -> BodyMemory:
        return self._small if size_bytes <= SMALL_SIZE_BYTES_MAX else self._large


async def take_memory(request: Request, size_bytes: int) -> None:
    """Wait for memory for a body of this size, which the request then holds until it is answered; once a request.

    Raises:
        ProblemError: 503 ``busy``, 429 ``over-share``.
    """
    if size_bytes > FREE_SIZE_BYTES_MAX:
        share: _Share = request.scope["body_memory"]
        await share.take(size_bytes)
