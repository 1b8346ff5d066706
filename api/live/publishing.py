"""Writes through the API: published to the topic, and answered only once Kafka has confirmed them."""

import asyncio
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future

import anyio.to_thread
import structlog

from api.answers.problems import ProblemError
from contract.errors import DependencyError
from contract.origin import Origin
from topics.publisher import Confirmation, ImagePublisher

CONFIRMATION_TIMEOUT_S = 5.0

logger = structlog.get_logger()


class Publishing:
    """Connects at the first write, and tries again at the next one when Kafka is away.

    Args:
        connect: to Kafka; blocks, and raises DependencyError when it is away.
        clock: seconds that never go back.
    """

    def __init__(self, connect: Callable[[], ImagePublisher], clock: Callable[[], float] = time.monotonic) -> None:
        self._connect = connect
        self._clock = clock
        self._used_s = clock()
        self._publisher: ImagePublisher | None = None
        self._connecting = asyncio.Lock()

    async def stop(self) -> None:
        """Close the connection; the next write connects again."""
        async with self._connecting:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await anyio.to_thread.run_sync(functools.partial(publisher.close, timeout_s=1.0))

    async def close_idle(self, idle_s: float) -> None:
        """Close the connection when nobody has written for so long."""
        if self._publisher is not None and self._clock() - self._used_s > idle_s:
            await self.stop()

    async def put(self, value: bytes, image_id: str | None, metadata: str | None, origin: Origin) -> Confirmation:
        """Publish an image.

        Raises:
            ProblemError: 503 ``kafka-unconfirmed``.
        """
        return await self._publish(
            lambda publisher: publisher.put(value, image_id=image_id, metadata=metadata, origin=origin)
        )

    async def delete(self, image_id: str, origin: Origin) -> Confirmation:
        """Publish a delete.

        Raises:
            ProblemError: 503 ``kafka-unconfirmed``.
        """
        return await self._publish(lambda publisher: publisher.delete(image_id, origin=origin))

    async def _publish(self, send: Callable[[ImagePublisher], "Future[Confirmation]"]) -> Confirmation:
        self._used_s = self._clock()
        try:
            async with asyncio.timeout(CONFIRMATION_TIMEOUT_S):
                publisher = await self._connected()
                sent = await anyio.to_thread.run_sync(send, publisher, abandon_on_cancel=True)
                confirmed = await asyncio.wrap_future(sent)
        except (DependencyError, TimeoutError) as error:
            reason = error.detail if isinstance(error, DependencyError) else f"no answer in {CONFIRMATION_TIMEOUT_S} s."
            raise ProblemError(
                503,
                "kafka-unconfirmed",
                f"Kafka has not confirmed this write: {reason} It may still arrive or be lost; send it again, which does "
                "no harm.",
                retry=True,
            ) from error
        place = {"partition": confirmed.partition, "offset": confirmed.offset}
        logger.info("published", id=confirmed.image_id, log=confirmed.log, **place)
        return confirmed

    async def _connected(self) -> ImagePublisher:
        async with self._connecting:
            if self._publisher is None:
                self._publisher = await anyio.to_thread.run_sync(self._connect, abandon_on_cancel=True)
            return self._publisher
