"""How much an embedder takes at once: as much as is judged in about a second, since what a batch brings appears together."""

import asyncio
from typing import Any, NamedTuple

from workers.embedder.stretches import Stretch, divided

BATCH_S = 1.0
# Before anything is known: half a second of photographs, and digits reach 512 after five batches more.
FIRST_RECORDS = 16


class Pace:
    """Learns from each batch how many records the next one takes. A batch of few grows by doubling, so one odd image does no harm."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.count = min(FIRST_RECORDS, count_max)

    def note(self, count: int, took_s: float) -> None:
        """Take account of a batch of `count` records."""
        fitting = int(count * BATCH_S / max(took_s, 1e-6))
        self.count = max(1, min(fitting, 2 * self.count, self._count_max))


class Piece(NamedTuple):
    """A stretch of records, or a part of one; `event` is what Faust is told once it is durable, None before the last part."""

    stretch: Stretch
    event: Any


class Pieces:
    """Takes records off a queue of Faust's events, in order, whatever stretches they came in."""

    def __init__(self, fetched: asyncio.Queue[Any]) -> None:
        self._fetched = fetched
        self._rest: Piece | None = None

    async def take(self, count: int) -> list[Piece]:
        """Wait for records, and take up to `count` of what has come."""
        pieces: list[Piece] = []
        while count > 0 and (not pieces or self._rest or not self._fetched.empty()):
            piece, self._rest = self._rest or await self._next(), None
            if len(piece.stretch.records) > count:
                head, tail = divided(piece.stretch, count)
                piece, self._rest = Piece(head, None), Piece(tail, piece.event)
            pieces.append(piece)
            count -= len(piece.stretch.records)
        return pieces

    async def _next(self) -> Piece:
        event = await self._fetched.get()
        return Piece(event.message.stretch, event)
