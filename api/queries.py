"""From a query to its embedding: an image goes through the same function as when it is indexed, in the same kind of child."""

import hashlib
from dataclasses import dataclass

import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from api.gate import Gate
from contract.errors import RejectedError
from contract.messages import check_value
from model.child import Decoder

# An image takes well under a millisecond, a hostile one seconds: then waiting longer helps nobody.
QUERIES_WAITING_MAX = 64


@dataclass(frozen=True)
class Query:
    """What is searched for.

    Attributes:
        embedding: (128,) float32, finite.
        bytes_sha256, pixels_sha256: of the image, None when the query is none.
        decode_ms, encode_ms: what the child took.
    """

    embedding: NDArray[np.float32]
    bytes_sha256: bytes | None = None
    pixels_sha256: bytes | None = None
    decode_ms: float = 0.0
    encode_ms: float = 0.0


class QueryEncoder:
    """Owns the decoder child; one image at a time."""

    def __init__(self, encoder: str) -> None:
        self._decoder = Decoder(encoder)
        self._gate = Gate(1, QUERIES_WAITING_MAX)

    async def encode(self, value: bytes) -> Query:
        """The query that an encoded image makes.

        Raises:
            RejectedError: the image would not be indexed either, for the same reason.
            ProblemError: 503 ``busy``.
        """
        check_value(value)
        return await self._gate.run(lambda: self._encode(value))

    async def start(self) -> None:
        """Start the child now, so that the first query need not wait for it."""
        await self._gate.run(lambda: self._decoder.verdicts([]))

    async def stop(self) -> None:
        """End the child."""
        await anyio.to_thread.run_sync(self._decoder.close)

    def _encode(self, value: bytes) -> Query:
        answer = self._decoder.verdicts([value])
        verdict = answer.verdicts[0]
        if verdict.reason:
            raise RejectedError(verdict.reason, verdict.detail)
        return Query(
            np.frombuffer(verdict.embedding, "<f4"),
            hashlib.sha256(value).digest(),
            verdict.pixels_sha256,
            answer.decode_s * 1000,
            answer.encode_s * 1000,
        )
