"""From a query to its embedding: an image goes through the same function as when it is indexed, in the same kind of child."""

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from api.gate import busy
from contract.errors import RejectedError
from contract.messages import check_value
from model.pictures.child import Decoder, Shown

# An image takes well under a millisecond, a hostile one seconds: then waiting longer helps nobody.
QUERIES_WAITING_MAX = 64
# What one question to the child holds at most: with more, the first of a crowd would wait for the last.
BATCH_IMAGES_MAX = 8
BATCH_SIZE_BYTES_MAX = 8 * 1024 * 1024
# While the child works on one, the next one's answer is taken and another one put.
QUESTIONS_MAX = 2


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        embedding: (d,) float32, finite.
        bytes_sha256, pixels_sha256: of the image, None when the query is none.
        shown: the image, or its thumbnail, and its size; None when the query is none, or while its record is unknown.
        decode_ms, encode_ms: what the child took; of images that it was asked for at once, the mean.
    """

    embedding: NDArray[np.float32]
    bytes_sha256: bytes | None = None
    pixels_sha256: bytes | None = None
    shown: Shown | None = field(default=None, repr=False)
    decode_ms: float = 0.0
    encode_ms: float = 0.0


class _Waiting(NamedTuple):
    value: bytes
    answer: asyncio.Future[Query]


class QueryEncoder:
    """Owns the decoder child. Images that come while it works are its next question together: one hop to a thread for all.

    Used on the event loop only.
    """

    def __init__(self, encoder: str) -> None:
        self._decoder = Decoder(encoder)
        self._waiting: deque[_Waiting] = deque()
        self._draining: set[asyncio.Task[None]] = set()
        self._is_retired = False

    async def encode(self, value: bytes) -> Query:
        """The query that an encoded image makes.

        Raises:
            RejectedError: the image would not be indexed either, for the same reason.
            DependencyError: no decoder child can be started.
            ProblemError: 503 ``busy``.
        """
        check_value(value)
        if len(self._waiting) >= QUERIES_WAITING_MAX:
            raise busy(len(self._waiting))
        answer: asyncio.Future[Query] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(value, answer))
        if len(self._draining) < QUESTIONS_MAX:
            self._draining.add(asyncio.create_task(self._drain()))
        return await answer

    def warm_up(self) -> None:
        """Start the child now, so that the first query need not wait for it. Blocks; any thread may call it.

        Raises:
            DependencyError: no decoder child can be started.
        """
        self._decoder.verdicts([])

    async def retire(self) -> None:
        """End the child as soon as nobody uses it. Who asks later is answered too, by a child that ends after that."""
        self._is_retired = True
        if not self._draining:
            await self.stop()

    def close(self) -> None:
        """End the child. Blocks; any thread may call it."""
        self._decoder.close()

    async def stop(self) -> None:
        """End the child."""
        await anyio.to_thread.run_sync(self.close)

    async def _drain(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            # Whatever goes wrong, each of those who asked gets it: none waits for ever.
            answering = asyncio.gather(anyio.to_thread.run_sync(self._answer, batch), return_exceptions=True)
            told: list[Query | RejectedError] | BaseException = (await answering)[0]
            answers = [told] * len(batch) if isinstance(told, BaseException) else told
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue  # its client went away
                if isinstance(answer, BaseException):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)
        self._draining.discard(asyncio.current_task())
        if self._is_retired and not self._draining:
            await self.stop()

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size_bytes = len(batch[0].value)
        while self._waiting and len(batch) < BATCH_IMAGES_MAX:
            size_bytes += len(self._waiting[0].value)
            if size_bytes > BATCH_SIZE_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(self, batch: list[_Waiting]) -> list[Query | RejectedError]:
        """For each its query, or why its image makes none."""
        told = self._decoder.verdicts([waiting.value for waiting in batch])
        decode_ms, encode_ms = (seconds * 1000 / len(batch) for seconds in (told.decode_s, told.encode_s))
        return [
            RejectedError(verdict.reason, verdict.detail)
            if verdict.reason
            else Query(
                np.frombuffer(verdict.embedding, "<f4"),
                hashlib.sha256(waiting.value).digest(),
                verdict.pixels_sha256,
                Shown(waiting.value, verdict.width, verdict.height),
                decode_ms,
                encode_ms,
            )
            for waiting, verdict in zip(batch, told.verdicts, strict=True)
        ]
