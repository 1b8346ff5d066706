"""Writes through the API: published to the topic, and answered only once Kafka has confirmed them."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Future
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import Request

from api.answers.problems import ProblemError
from contract.errors import DependencyError
from contract.settings import Settings
from topics.publisher import Confirmation, ImagePublisher

CONNECT_TIMEOUT_S = 2.0
CONFIRMATION_TIMEOUT_S = 5.0


class Publishing:
    """Connects at the first write, and tries again at the next one when Kafka is away."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._publisher: ImagePublisher | None = None
        self._connecting = asyncio.Lock()

    async def stop(self) -> None:
        """Close the connection."""
        if self._publisher is not None:
            await anyio.to_thread.run_sync(functools.partial(self._publisher.close, timeout_s=1.0))

    async def put(self, value: bytes, image_id: str | None, metadata: str | None) -> Confirmation:
        """Publish an image.

        Raises:
            ProblemError: 503 ``kafka-unconfirmed``.
        """
        return await self._publish(lambda publisher: publisher.put(value, image_id=image_id, metadata=metadata))

    async def delete(self, image_id: str) -> Confirmation:
        """Publish a delete.

        Raises:
            ProblemError: 503 ``kafka-unconfirmed``.
        """
        return await self._publish(lambda publisher: publisher.delete(image_id))

    async def _publish(self, send: Callable[[ImagePublisher], "Future[Confirmation]"]) -> Confirmation:
        try:
            async with asyncio.timeout(CONFIRMATION_TIMEOUT_S):
                publisher = await self._connected()
                sent = await anyio.to_thread.run_sync(send, publisher, abandon_on_cancel=True)
                return await asyncio.wrap_future(sent)
        except (DependencyError, TimeoutError) as error:
            reason = error.detail if isinstance(error, DependencyError) else f"no answer in {CONFIRMATION_TIMEOUT_S} s."
            raise ProblemError(
                503,
                "kafka-unconfirmed",
                f"Kafka has not confirmed this write: {reason} It may still arrive or be lost; send it again, which does "
                "no harm.",
                retry=True,
            ) from error

    async def _connected(self) -> ImagePublisher:
        async with self._connecting:
            if self._publisher is None:
                self._publisher = await anyio.to_thread.run_sync(ImagePublisher, self._settings, abandon_on_cancel=True)
            return self._publisher


def check_writer(request: Request, allowed_hosts: str) -> None:
    """Let nobody write through a person's browser but the page itself.

    A foreign page's request carries its own Origin; a name that was rebound to this address shows in Host. The scheme is
    not compared: a proxy may speak TLS for us.

    Raises:
        ProblemError: 403 ``foreign-host`` or ``foreign-origin``.
    """
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if name not in allowed_hosts.lower().split(","):
        raise ProblemError(
            403,
            "foreign-host",
            f"The request's Host is {host!r}, writes are taken under {allowed_hosts}. "
            "Add the name to LOOKALIKE_API_ALLOWED_HOSTS if it is yours.",
        )
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise ProblemError(
            403, "foreign-origin", f"The request comes from a page of {origin!r}; writes are taken from {host} alone."
        )
