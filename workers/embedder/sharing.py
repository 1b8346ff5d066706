"""How collections share one embedder: what each may hold in memory, and whose records are embedded next."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

HELD_BYTES_MAX = 16 * 1024 * 1024
# However many share.
SHARE_BYTES_MIN = 256 * 1024
# Who had records within this time is waited for by the others.
RECENT_S = 5.0


class Held:
    """How much of each topic is in memory and not acknowledged, as `Stretch.weight_bytes` measures it.

    A topic may hold 16 MiB, or its part of that while others hold something. No topic is fetched from while all hold twice as
    much together.
    """

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()

    def add(self, topic: str, weight_bytes: int) -> None:
        """Take account of what was fetched."""
        self._bytes[topic] += weight_bytes

    def remove(self, topic: str, weight_bytes: int) -> None:
        """Take account of what was acknowledged."""
        self._bytes[topic] -= weight_bytes
        if self._bytes[topic] <= 0:
            del self._bytes[topic]

    def clear(self) -> None:
        """Nothing is held: everything is fetched again."""
        self._bytes.clear()

    def full(self, topics: Iterable[str]) -> set[str]:
        """Those that hold their share."""
        if self._bytes.total() > 2 * HELD_BYTES_MAX:
            return set(topics)
        share_bytes = max(HELD_BYTES_MAX // max(len(self._bytes), 1), SHARE_BYTES_MIN)
        return {topic for topic in topics if self._bytes[topic] > share_bytes}


class Taker(Protocol):
    """Takes turns with others."""

    @property
    def is_ready(self) -> bool:
        """Whether it has something to do now."""


T = TypeVar("T", bound=Taker)


class Turns(Generic[T]):
    """Gives the next turn to who was given least so far: round robin, by bytes. All methods run on one event loop.

    Who comes back begins with as much as the one that had its turn last, so nobody saves up turns.

    Args:
        clock: seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._given: dict[T, int] = {}
        self._came_s: dict[T, float] = {}
        self._floor = 0
        self._changed = asyncio.Event()

    def came(self, taker: T) -> None:
        """Take account of something that came for this one."""
        if not taker.is_ready:
            self._given[taker] = max(self._given.get(taker, 0), self._floor)
        self._came_s[taker] = self._clock()
        self._changed.set()

    def forget(self, taker: T) -> None:
        """It takes no turns any more."""
        self._given.pop(taker, None)
        self._came_s.pop(taker, None)

    def wake(self) -> None:
        """Look again at who is ready."""
        self._changed.set()

    def is_shared(self, taker: T) -> bool:
        """Whether others have something, or had lately."""
        since_s = self._clock() - RECENT_S
        return any(came_s > since_s or other.is_ready for other, came_s in self._came_s.items() if other is not taker)

    def take(self, taker: T, weight_bytes: int) -> None:
        """Take account of what a turn was used for."""
        self._floor = self._given.get(taker, 0)
        if taker in self._given:
            self._given[taker] += weight_bytes

    async def next(self) -> T:
        """Wait for one that is ready, and return whose turn it is."""
        while not (ready := [taker for taker in self._given if taker.is_ready]):
            self._changed.clear()
            await self._changed.wait()
        return min(ready, key=self._given.__getitem__)
