"""How long a client may take to say what it wants, and how many may be connected: Uvicorn bounds neither."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, cast

import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.answers.problems import MEDIA_TYPE, ProblemError
from contract.telemetry import CONNECTIONS_ENDED

# From the connection to the end of the TLS handshake. Until then there is no protocol of ours that could end it.
HANDSHAKE_S = 5.0
# By name, as Uvicorn takes an event loop.
BOUNDED_LOOP = "api.connections:BoundedLoop"
# A client that is refused may still be sending; closed at once, its system would throw away what we told it.
_REFUSED_S = 1.0


@dataclass(frozen=True)
class ConnectionLimits:
    """What a connection may take.

    Attributes:
        count_max: connections of this process at once.
        first_byte_s: until a new connection says something.
        headers_s: from the first byte of a request to the end of its headers.
        headers_size_bytes_max: of a request's line and headers.
        body_bytes_per_s: that a body must come with after `body_grace_s`, the time left out in which we do not take more.
        look_s: between two looks at how a body comes.
        lingering_s: how long the rest of a body is thrown away that is answered already.
    """

    count_max: int = 1000
    first_byte_s: float = 10.0
    headers_s: float = 5.0
    headers_size_bytes_max: int = 64 * 1024
    body_bytes_per_s: float = 10_000.0
    body_grace_s: float = 5.0
    look_s: float = 1.0
    lingering_s: float = 10.0


class BoundedLoop(uvloop.Loop):
    """An event loop whose servers end connections that do not finish a TLS handshake in time; Uvicorn hands no such bound on."""

    handshake_s = HANDSHAKE_S

    async def create_server(self, *args: Any, **options: Any) -> Any:
        """A server like any other."""
        if options.get("ssl"):
            options["ssl_handshake_timeout"] = self.handshake_s
        return await super().create_server(*args, **options)


class _Transport:
    """A connection, as asyncio's own are: what is written after its end is for nobody. For uvloop that is an error.

    Uvicorn notes of one request that its client has gone, and of those before it on the same connection, which are still answered,
    not.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, while there is somebody."""
        if not self._transport.is_closing():
            self._transport.write(data)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. What it is doing decides which clock runs; there is one at a time.

    Between requests Uvicorn's own clock runs, `timeout_keep_alive`.
    """

    limits = ConnectionLimits()

    _phase: Literal["idle", "headers", "body", "refused"] = "idle"
    _timer: asyncio.TimerHandle | None = None
    _headers_size_bytes = 0
    _body_size_bytes = 0
    _reading_s = 0.0
    _ticked_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, or refuse when there are too many connections."""
        super().connection_made(cast(asyncio.Transport, _Transport(transport)))
        if len(self.connections) <= self.limits.count_max:
            self._arm(self.limits.first_byte_s, self._end_idle)
            return
        self.connections.discard(self)
        self._phase = "refused"
        self._tell(
            ProblemError(
                503,
                "too-many-connections",
                f"{self.limits.count_max} clients are connected already; try again later.",
                retry=True,
            )
        )
        CONNECTIONS_ENDED.labels("full").inc()
        if transport.can_write_eof():
            transport.write_eof()
        self._arm(_REFUSED_S, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        if self._phase == "refused" or self.transport.is_closing():
            return
        if self._phase != "body":
            self._headers_size_bytes += len(data)
        super().data_received(data)
        if self._phase == "headers" and self._headers_size_bytes > self.limits.headers_size_bytes_max:
            self._end(
                "large-headers",
                ProblemError(
                    431,
                    "too-large-headers",
                    f"The request's headers have more than {self.limits.headers_size_bytes_max} bytes. Send fewer or shorter ones.",
                ),
            )
        elif self._phase == "idle" and self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._arm(
                self.limits.first_byte_s, self._end_idle
            )  # what came was no request yet, and stopped Uvicorn's clock

    def on_message_begin(self) -> None:
        """The first byte of a request has come."""
        self._phase = "headers"
        self._arm(self.limits.headers_s, self._end_headers)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The headers are there, and a body may follow."""
        self._phase = "body"
        self._headers_size_bytes = self._body_size_bytes = 0
        self._reading_s, self._ticked_s = 0.0, time.monotonic()
        self._arm(self.limits.look_s, self._look_at_body)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body_size_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is there as a whole."""
        self._phase = "idle"
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is sent; what is still to come of the request is thrown away for a while."""
        super().on_response_complete()
        if self._phase == "body":
            self._arm(self.limits.lingering_s, lambda: self._end("lingering"))

    def _look_at_body(self) -> None:
        now_s = time.monotonic()
        is_our_turn = self.flow.read_paused or self.cycle.waiting_for_100_continue
        if not is_our_turn:
            self._reading_s += now_s - self._ticked_s
        self._ticked_s = now_s
        if self._body_size_bytes < self.limits.body_bytes_per_s * (self._reading_s - self.limits.body_grace_s):
            self._end(
                "slow-body",
                ProblemError(
                    408,
                    "slow-body",
                    f"Only {self._body_size_bytes} bytes of the body came in {self._reading_s:.0f} s, at least "
                    f"{self.limits.body_bytes_per_s:.0f} a second are waited for. Send it over a faster line.",
                ),
            )
        else:
            self._arm(self.limits.look_s, self._look_at_body)

    def _end_idle(self) -> None:
        self._end("idle")  # without a word: browsers connect in advance

    def _end_headers(self) -> None:
        detail = f"The request's headers did not end within {self.limits.headers_s:.0f} s. Send them at once."
        self._end("slow-headers", ProblemError(408, "slow-headers", detail))

    def _end(self, reason: str, problem: ProblemError | None = None) -> None:
        """Close the connection, and tell why where that can be told."""
        self._disarm()
        CONNECTIONS_ENDED.labels(reason).inc()
        if problem is not None and not self._is_answering():
            self._tell(problem)
        self.transport.close()

    def _is_answering(self) -> bool:
        """Whether what we say would end up in the middle of an answer, or before one that is due."""
        if self.cycle is None:
            return False
        return self.cycle.response_started if self._phase == "body" else not self.cycle.response_complete

    def _tell(self, problem: ProblemError) -> None:
        body = json.dumps(problem.body().model_dump(mode="json")).encode()
        head = [
            f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
            f"Content-Type: {MEDIA_TYPE}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(f"{name}: {value}" for name, value in problem.headers.items()),
        ]
        self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)

    def _arm(self, delay_s: float, action: Callable[[], object]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(delay_s, action)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
