"""From a query to its embedding: an image goes through the same function as when it is indexed, in the same kind of child."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from api.answers.bounded_work import BoundedWork, busy
from contract.errors import RejectedError
from contract.messages import check_value
from model.encoder import load_encoder
from model.pictures.decoder import QUESTION_SIZE_BYTES_MAX, Decoder
from model.verdicts.frames import Kind, Shown

# An image takes well under a millisecond, a hostile one seconds: then waiting longer helps nobody.
QUERIES_WAITING_MAX = 64
# A query with its hypotheses costs as much as 24.
THOROUGH_WAITING_MAX = 8
# What one question to the child holds at most, beside its bytes: with more, the first of a crowd would wait for the last.
QUESTION_IMAGES_MAX = 8
# While the child works on one, the next one's answer is taken and another one put.
QUESTIONS_MAX = 2


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        embedding: (d,) float32, finite.
        bytes_sha256, pixels_sha256: of the image, None when the query is none.
        shown: the image, or its thumbnail, and its size; None when the query is none, or while its record is unknown.
        hypotheses: embeddings of what the image may be beside itself, by name (`model.pictures.hypotheses`).
        decode_ms, encode_ms: what the child took; of images that it was asked for at once, the mean.
    """

    embedding: NDArray[np.float32]
    bytes_sha256: bytes | None = None
    pixels_sha256: bytes | None = None
    shown: Shown | None = field(default=None, repr=False)
    hypotheses: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)
    decode_ms: float = 0.0
    encode_ms: float = 0.0


class _Waiting(NamedTuple):
    value: bytes
    answer: asyncio.Future[Query]


class QueryEncoder:
    """Owns the decoder child. Images that come while it works are its next question together: one hop to a thread for all.

    Queries with their hypotheses go to a child of their own, which starts with the first of them: they take long, and others need not wait.

    Used on the event loop only.

    Attributes:
        name: of the encoder; `fingerprint` is what its generations carry.
        knows_drawings: as the encoder's card says.
        kind: of the pictures that the encoder knows.
    """

    def __init__(self, encoder: str, *, encoders_dir: Path | None = None, accept_truncated: bool | None = None) -> None:
        loaded = load_encoder(encoder, encoders_dir)
        self.name, self.fingerprint = encoder, loaded.fingerprint
        self.knows_drawings = bool(loaded.card["knows_drawings"])
        self.kind: Kind = "digits" if self.knows_drawings else "photographs"
        self._decoder = Decoder(encoder, encoders_dir=encoders_dir, accept_truncated=accept_truncated)
        self._thorough_decoder = Decoder(encoder, encoders_dir=encoders_dir, accept_truncated=accept_truncated)
        self._thorough_work = BoundedWork(1, THOROUGH_WAITING_MAX)
        self._thorough_count = 0
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

    async def encode_thoroughly(self, value: bytes) -> Query:
        """The query that an encoded image makes, with its hypotheses.

        Raises: as `encode`.
        """
        check_value(value)
        self._thorough_count += 1
        try:
            (answer,), _ = await self._thorough_work.run(lambda: self._answer([value], with_hypotheses=True))
        finally:
            self._thorough_count -= 1
            await self._stop_if_retired()
        if isinstance(answer, RejectedError):
            raise answer
        return answer

    def warm_up(self) -> None:
        """Start the child now, so that the first query need not wait for it. Blocks; any thread may call it.

        Raises:
            DependencyError: no decoder child can be started.
        """
        self._decoder.decode([])

    async def retire(self) -> None:
        """End the child as soon as nobody uses it. Who asks later is answered too, by a child that ends after that."""
        self._is_retired = True
        await self._stop_if_retired()

    def close(self) -> None:
        """End the children. Blocks; any thread may call it."""
        self._decoder.close()
        self._thorough_decoder.close()

    async def stop(self) -> None:
        """End the child."""
        await anyio.to_thread.run_sync(self.close)

    async def _drain(self) -> None:
        while self._waiting:
            batch = self._next_batch()
            # Whatever goes wrong, each of those who asked gets it: none waits for ever.
            values = [waiting.value for waiting in batch]
            answering = asyncio.gather(anyio.to_thread.run_sync(self._answer, values), return_exceptions=True)
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
        await self._stop_if_retired()

    async def _stop_if_retired(self) -> None:
        if self._is_retired and not self._draining and not self._thorough_count:
            await self.stop()

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        size_bytes = len(batch[0].value)
        while self._waiting and len(batch) < QUESTION_IMAGES_MAX:
            size_bytes += len(self._waiting[0].value)
            if size_bytes > QUESTION_SIZE_BYTES_MAX:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer(self, values: list[bytes], with_hypotheses: bool = False) -> list[Query | RejectedError]:
        """For each its query, or why its image makes none."""
        decoder = self._thorough_decoder if with_hypotheses else self._decoder
        told = decoder.decode(values, with_hypotheses=with_hypotheses)
        decode_ms, encode_ms = (seconds * 1000 / len(values) for seconds in (told.decode_s, told.encode_s))
        return [
            RejectedError(verdict.reason, verdict.detail)
            if verdict.reason
            else Query(
                np.frombuffer(verdict.embedding, "<f4"),
                hashlib.sha256(value).digest(),
                verdict.pixels_sha256,
                Shown(value, verdict.width, verdict.height),
                {name: np.frombuffer(embedding, "<f4") for name, embedding in verdict.hypotheses.items()},
                decode_ms,
                encode_ms,
            )
            for value, verdict in zip(values, told.images, strict=True)
        ]
