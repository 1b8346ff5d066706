"""From a query to its embedding: an image goes through the same function as when it is indexed, in the same kind of child."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from api.answers.fair_queue import ASKED_BY, FairQueue, over_share
from contract.errors import RejectedError
from contract.messages import check_value
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from model.verdicts.frames import Kind, Shown

# An image takes well under a millisecond, a hostile one seconds: then waiting longer helps nobody.
QUERIES_WAITING_MAX = 64
# A query with its hypotheses costs as much as 24, a large image as much as many small ones: they have a child of their own.
LARGE_QUERY_SIZE_BYTES = 1024 * 1024
LARGE_WAITING_MAX = 16
# So few of them wait that none does so for much longer than this, but as many in any case.
LARGE_WAIT_S = 1.0
LARGE_WAITING_MIN = 2
# How much the last one counts in what one of them takes.
_LATEST_WEIGHT = 0.2
LARGE_WAITING_SIZE_BYTES_MAX = 64 * 1024 * 1024
# What any image costs, told in bytes.
_LEAST_COST = 64 * 1024
_THOROUGH_COST = 24
# What one question to the child holds at most, beside LARGE_QUERY_SIZE_BYTES: with more, the first of a crowd would wait for the last.
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
    with_hypotheses: bool
    answer: asyncio.Future[Query]


class _Child:
    """A decoder child with those who wait for it."""

    def __init__(self, decoder: Decoder, waiting: FairQueue[_Waiting], questions_max: int) -> None:
        self.decoder, self.waiting, self.questions_max = decoder, waiting, questions_max
        self.draining: set[asyncio.Task[None]] = set()
        self._took_s = 0.0

    def note(self, took_s: float) -> None:
        """Let so many wait as may be answered soon, when one takes so long."""
        self._took_s += (took_s - self._took_s) * (_LATEST_WEIGHT if self._took_s else 1.0)
        soon = int(LARGE_WAIT_S / max(self._took_s, 1e-3))
        self.waiting.count_max = max(LARGE_WAITING_MIN, min(LARGE_WAITING_MAX, soon))


class QueryEncoder:
    """Owns the decoder child. Images that come while it works are its next question together: one hop to a thread for all.

    Large images, and queries with their hypotheses, go to a child of their own, which starts with the first of them: they take long,
    and others need not wait. Clients take turns.

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
        decoders = [Decoder(encoder, encoders_dir=encoders_dir, accept_truncated=accept_truncated) for _ in range(2)]
        all_small = QUERIES_WAITING_MAX * (LARGE_QUERY_SIZE_BYTES + _LEAST_COST)
        self._quick = _Child(decoders[0], FairQueue(QUERIES_WAITING_MAX, all_small), QUESTIONS_MAX)
        self._slow = _Child(decoders[1], FairQueue(LARGE_WAITING_MAX, LARGE_WAITING_SIZE_BYTES_MAX), 1)
        self._is_retired = False

    async def encode(self, value: bytes) -> Query:
        """The query that an encoded image makes.

        Raises:
            RejectedError: the image would not be indexed either, for the same reason.
            DependencyError: no decoder child can be started.
            ProblemError: 503 ``busy``, 429 ``over-share``.
        """
        return await self._ask(self._slow if len(value) > LARGE_QUERY_SIZE_BYTES else self._quick, value)

    async def encode_thoroughly(self, value: bytes) -> Query:
        """The query that an encoded image makes, with its hypotheses.

        Raises: as `encode`.
        """
        return await self._ask(self._slow, value, with_hypotheses=True)

    def warm_up(self) -> None:
        """Start the child now, so that the first query need not wait for it. Blocks; any thread may call it.

        Raises:
            DependencyError: no decoder child can be started.
        """
        self._quick.decoder.decode([])

    async def retire(self) -> None:
        """End the child as soon as nobody uses it. Who asks later is answered too, by a child that ends after that."""
        self._is_retired = True
        await self._stop_if_retired()

    def close(self) -> None:
        """End the children. Blocks; any thread may call it."""
        self._quick.decoder.close()
        self._slow.decoder.close()

    async def stop(self) -> None:
        """End the child."""
        await anyio.to_thread.run_sync(self.close)

    async def _ask(self, child: _Child, value: bytes, *, with_hypotheses: bool = False) -> Query:
        check_value(value)
        waiting = _Waiting(value, with_hypotheses, asyncio.get_running_loop().create_future())
        cost = (len(value) + _LEAST_COST) * (_THOROUGH_COST if with_hypotheses else 1)
        for other in child.waiting.put(waiting, ASKED_BY.get(), min(cost, LARGE_WAITING_SIZE_BYTES_MAX / 8)):
            if not other.answer.done():
                other.answer.set_exception(over_share(len(child.waiting)))
        if len(child.draining) < child.questions_max:
            child.draining.add(asyncio.create_task(self._drain(child)))
        return await waiting.answer

    async def _drain(self, child: _Child) -> None:
        while child.waiting:
            batch = _next_batch(child.waiting)
            if not batch:
                continue  # all of them went away
            # Whatever goes wrong, each of those who asked gets it: none waits for ever.
            values = [waiting.value for waiting in batch]
            began_s = time.perf_counter()
            asking = anyio.to_thread.run_sync(_answer, child.decoder, values, batch[0].with_hypotheses)
            answering = asyncio.gather(asking, return_exceptions=True)
            told: list[Query | RejectedError] | BaseException = (await answering)[0]
            if child is self._slow:
                child.note(time.perf_counter() - began_s)
            answers = [told] * len(batch) if isinstance(told, BaseException) else told
            for waiting, answer in zip(batch, answers, strict=True):
                if waiting.answer.done():
                    continue  # its client went away
                if isinstance(answer, BaseException):
                    waiting.answer.set_exception(answer)
                else:
                    waiting.answer.set_result(answer)
        task = asyncio.current_task()
        assert task is not None
        child.draining.discard(task)
        await self._stop_if_retired()

    async def _stop_if_retired(self) -> None:
        if self._is_retired and not self._quick.draining and not self._slow.draining:
            await self.stop()


def _next_batch(queue: FairQueue[_Waiting]) -> list[_Waiting]:
    """Those who are answered together next, without those who went away."""
    batch: list[_Waiting] = []
    size_bytes = 0
    while queue and len(batch) < QUESTION_IMAGES_MAX:
        following, _ = queue.first()
        size_bytes += len(following.value)
        is_alone = size_bytes > LARGE_QUERY_SIZE_BYTES or following.with_hypotheses
        if batch and is_alone:
            break
        queue.pop()
        if not following.answer.done():
            batch.append(following)
        if is_alone:
            break
    return batch


def _answer(decoder: Decoder, values: list[bytes], with_hypotheses: bool) -> list[Query | RejectedError]:
    """For each its query, or why its image makes none."""
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
