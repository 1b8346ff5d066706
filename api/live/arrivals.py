"""What came with each swap: how fresh it was, which images are the newest, and when each offset became searchable."""

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from api.answers.coverage import is_covered
from api.live.rate import Rate
from contract.collections import DEFAULT_COLLECTION
from contract.record_key import RecordKey
from contract.telemetry import FRESHNESS_SECONDS, GENERATION, INDEX_IMAGES, TAIL_ENTRIES
from gallery.generations.manifest import Manifest
from gallery.generations.snapshot import Match, Snapshot
from gallery.table.snapshot import AnySnapshot
from runtime.readiness import READINESS

NEWEST_IMAGES = 20
# Freshness is taken from at most so many images a swap and kept for so many.
SAMPLES_PER_SWAP = 1000
SAMPLES = 2000
# Swaps remembered for timelines: at least a minute and a half, however fast generations come; 2 kB each.
SWAPS = 2000


@dataclass(frozen=True)
class Freshness:
    """From Kafka's timestamp to being searchable here, over the last `count` arrivals, in milliseconds."""

    p50_ms: float
    p99_ms: float
    count: int


class Arrivals:
    """Listens to swaps.

    Args:
        clock: seconds since 1970.
        collection: its name.

    Attributes:
        covered_rate: of records that become covered.
    """

    def __init__(self, clock: Callable[[], float] = time.time, collection: str = DEFAULT_COLLECTION) -> None:
        self._clock = clock
        self._collection = collection
        self.covered_rate = Rate()
        self._freshness_ms: deque[int] = deque(maxlen=SAMPLES)
        self._newest: deque[Match] = deque(maxlen=NEWEST_IMAGES)
        self._swaps: deque[tuple[int, Manifest]] = deque(maxlen=SWAPS)

    def on_swap(self, before: AnySnapshot | None, now: AnySnapshot) -> None:
        """Note what `now` covers beyond `before`."""
        served_ms = int(self._clock() * 1000)
        manifest = now.manifest
        READINESS.note("index", is_good=True)
        self._swaps.append((served_ms, manifest))
        self.covered_rate.add(sum(manifest.offsets.values()))
        GENERATION.labels(self._collection).set(manifest.generation)
        INDEX_IMAGES.labels(self._collection).set(manifest.count)
        TAIL_ENTRIES.labels(self._collection).set(manifest.tail.entries)
        if before is None:
            self._newest.extend(_newest_at_start(now))
            return
        arrived = _arrived(before.manifest, now)
        self._newest.extend(arrived)
        for match in arrived:
            freshness_ms = max(0, served_ms - match.kafka_time_ms)
            self._freshness_ms.append(freshness_ms)
            FRESHNESS_SECONDS.labels(self._collection).observe(freshness_ms / 1000)

    def freshness(self) -> Freshness | None:
        """None before anything arrived while this process served."""
        if not self._freshness_ms:
            return None
        p50, p99 = np.percentile(self._freshness_ms, [50, 99]).tolist()
        return Freshness(p50, p99, len(self._freshness_ms))

    def newest(self, snapshot: AnySnapshot) -> list[Match]:
        """The newest arrivals that can still be found, newest first."""
        if not isinstance(snapshot, Snapshot):  # what it covers names them
            return snapshot.newest(NEWEST_IMAGES)
        return [match for match in reversed(self._newest) if _is_current(snapshot, match)]

    def searchable_since_ms(self, key: RecordKey) -> int | None:
        """When this process first covered the record; None when it did already at its start, or does not yet."""
        first = bisect_left(self._swaps, True, key=lambda swap: is_covered(swap[1], key))
        return self._swaps[first][0] if 0 < first < len(self._swaps) else None


def _arrived(before: Manifest, now: AnySnapshot) -> list[Match]:
    """Images whose records `before` did not cover, oldest first."""
    records = sum(now.manifest.offsets.values()) - sum(
        before.offsets.values() if before.log == now.manifest.log else ()
    )
    newest = now.newest(min(records, SAMPLES_PER_SWAP)) if records > 0 else []
    return [match for match in reversed(newest) if not is_covered(before, match.source)]


def _newest_at_start(snapshot: AnySnapshot) -> list[Match]:
    """The newest images of tail and base together, oldest first."""
    found = {match.image_id: match for match in snapshot.newest(NEWEST_IMAGES)}
    if not isinstance(snapshot, Snapshot):
        return list(found.values())[::-1]
    live = snapshot.base.live
    for row in np.argsort(live.positions[:, 1])[-NEWEST_IMAGES:].tolist():
        image = snapshot.find(live.id_bytes(row).decode())
        if image is not None:
            found[image.image_id] = Match(image.image_id, 0.0, image.source, image.kafka_time_ms)
    return sorted(found.values(), key=lambda match: match.kafka_time_ms)[-NEWEST_IMAGES:]


def _is_current(snapshot: Snapshot, match: Match) -> bool:
    found = snapshot.find(match.image_id)
    return found is not None and found.source == match.source
