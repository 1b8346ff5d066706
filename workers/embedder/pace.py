"""How much an embedder takes at once: as much as is embedded in about a second, since what a batch brings appears together."""

import asyncio

from workers.embedder.records import Stretch, divided

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


class WaitingStretches:
    """Takes records off a queue of stretches, in order, whatever stretches they came in."""

    def __init__(self, fetched: asyncio.Queue[Stretch]) -> None:
        self._fetched = fetched
        self._rest: Stretch | None = None

    async def take(self, count: int) -> list[Stretch]:
        """Wait for records, and take up to `count` of what has come."""
        taken: list[Stretch] = []
        while count > 0 and (not taken or self._rest or not self._fetched.empty()):
            stretch, self._rest = self._rest or await self._fetched.get(), None
            if len(stretch.records) > count:
                stretch, self._rest = divided(stretch, count)
            taken.append(stretch)
            count -= len(stretch.records)
        return taken
