"""Says when the index stands still although records wait, and which part lets it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.collections import DEFAULT_COLLECTION
from contract.telemetry import STALLED
from gallery.generations.manifest import LogCoverage, Manifest

PARTS = EMBEDDER, INDEXER, CASSANDRA = "embedder", "indexer", "cassandra"


@dataclass(frozen=True)
class Waiting:
    """What lies beyond a generation's coverage.

    Attributes:
        in_kafka: whether a partition of the topic has records, all of them readable, that are not covered; None when unknown.
        in_feed: whether the feed goes on where the coverage of a partition ends; None when unknown.
    """

    in_kafka: bool | None
    in_feed: bool | None


@dataclass(frozen=True)
class Stall:
    """Who lets coverage stand still, `embedder`, `indexer` or `cassandra`, and since when, in milliseconds since 1970."""

    part: str
    since_ms: int


@dataclass
class StallWatch:
    """Told what waits, about once a second. Used on the event loop only.

    Args:
        after_s: so long coverage may stand still while records wait.
        clock: seconds since 1970, to tell people since when.
        collection: its name.
        steady_clock: seconds that nobody sets.
    """

    after_s: float
    clock: Callable[[], float] = time.time
    collection: str = DEFAULT_COLLECTION
    steady_clock: Callable[[], float] = time.monotonic
    stall: Stall | None = None
    _covered: tuple[str, list[LogCoverage]] | None = field(default=None, repr=False)
    _moved_s: float = 0.0
    _moved_ms: int = 0

    def look(self, manifest: Manifest, waiting: Waiting) -> Stall | None:
        """The stall, if there is one, given the generation that is served and what waits beyond it."""
        covered, now_s = (manifest.index_id, manifest.logs), self.steady_clock()
        is_idle = waiting.in_kafka is False or (waiting.in_kafka is None and waiting.in_feed is False)
        if is_idle or covered != self._covered:
            self._covered, self._moved_s, self._moved_ms = covered, now_s, round(self.clock() * 1000)
        is_waiting = waiting.in_kafka or waiting.in_feed
        is_stalled = is_waiting and now_s - self._moved_s >= self.after_s
        self.stall = Stall(_part(waiting), self._moved_ms) if is_stalled else None
        for part in PARTS:
            STALLED.labels(self.collection, part).set(self.stall is not None and self.stall.part == part)
        return self.stall


def _part(waiting: Waiting) -> str:
    """Who is to bring on what waits: without the store's word neither embedder nor indexer can be blamed."""
    return CASSANDRA if waiting.in_feed is None else INDEXER if waiting.in_feed else EMBEDDER
