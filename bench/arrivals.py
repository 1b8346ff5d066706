"""When each published image became searchable, for images published at a steady rate."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import DependencyError
from contract.settings import Settings
from gallery.generations.reader import Reader
from runtime.progress import progress_line
from topics.publisher import Confirmation, ImagePublisher

COVERED_TIMEOUT_S = 300.0
LOOK_INTERVAL_S = 0.002
# An open loop that sends less than this share of what it was to send was not that loop.
RATE_SHARE_MIN = 0.98


class CoverageWatcher:
    """Notes when the index folder's current generation first covered each offset, looking every 2 ms.

    It reads generations as the API does, so what it notes is when a search could be answered from them.
    """

    def __init__(self, index_dir: Path) -> None:
        self._reader = Reader(index_dir, fingerprint=None)
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait_covered(self, confirmed: list[Confirmation]) -> NDArray[np.float64]:
        """Times (`time.time`), one a record in their order, at which each confirmed record became searchable.

        Raises:
            DependencyError: not within five minutes.
        """
        deadline = time.monotonic() + COVERED_TIMEOUT_S
        ends: dict[str, int] = {}
        for record in confirmed:
            ends[str(record.partition)] = max(ends.get(str(record.partition), 0), record.offset + 1)
        with self._changed:
            while not self._seen or any(self._seen[-1][1].get(p, 0) < end for p, end in ends.items()):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise DependencyError("index", f"it does not cover {ends} after {COVERED_TIMEOUT_S:.0f} s.")
            seen = list(self._seen)
        when = np.array([seconds for seconds, _ in seen])
        covered = {p: np.array([offsets.get(p, 0) for _, offsets in seen]) for p in ends}
        # The first generation whose next offset is beyond the record; offsets never go back.
        first = [np.searchsorted(covered[str(record.partition)], record.offset, "right") for record in confirmed]
        found: NDArray[np.float64] = when[np.array(first, np.int64)]
        return found

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        last = -1
        while not self._stop.wait(LOOK_INTERVAL_S):
            snapshot = self._reader.current()
            if snapshot is not None and snapshot.manifest.generation != last:
                last = snapshot.manifest.generation
                with self._changed:
                    self._seen.append((time.time(), snapshot.manifest.offsets))
                    self._changed.notify_all()


class Paced(NamedTuple):
    """Images that were published at a steady rate, whatever became of those before (an open loop).

    Attributes:
        fresh_ms: (n,) float64, from Kafka's confirmation to being searchable.
        late_ms: (n,) float64, how much later than planned each was handed to the Kafka client.
        sent_per_s: rate at which they were really handed over.
        searchable_per_s: rate at which they became searchable, from the first to the last one.
    """

    fresh_ms: NDArray[np.float64]
    late_ms: NDArray[np.float64]
    sent_per_s: float
    searchable_per_s: float

    def figures(self, rate: float) -> dict[str, object]:
        """What there is to say of them, beside what was asked for."""
        return {
            "rate_per_s": rate,
            "images": len(self.fresh_ms),
            "sent_per_s": round(self.sent_per_s, 1),
            "rate_was_reached": self.sent_per_s >= RATE_SHARE_MIN * rate,
            "sent_late_p99_ms": round(float(np.quantile(self.late_ms, 0.99)), 2),
            "searchable_per_s": round(self.searchable_per_s, 1),
            "p50_ms": round(float(np.median(self.fresh_ms)), 1),
            "p99_ms": round(float(np.quantile(self.fresh_ms, 0.99)), 1),
            "max_ms": round(float(self.fresh_ms.max()), 1),
        }


def publish_paced(
    settings: Settings, watcher: CoverageWatcher, pngs: list[bytes], *, rate: float, seconds: float, prefix: str
) -> Paced:
    """Publish `pngs` in turn at `rate` a second, under ids that begin with `prefix`, and wait until all are searchable."""
    confirmed_at: dict[int, float] = {}

    def noting(number: int) -> Callable[[object], object]:
        return lambda _: confirmed_at.setdefault(number, time.time())

    count = max(2, int(rate * seconds))
    futures: list[Future[Confirmation]] = []
    late_s = np.empty(count)
    with ImagePublisher(settings) as publisher, progress_line(f"{rate:g} images/s", count) as bar:
        began = time.monotonic()
        for number in _paced(began, count, rate):
            late_s[number] = time.monotonic() - (began + number / rate)
            future = publisher.put(pngs[number % len(pngs)], image_id=f"{prefix}/{number}")
            future.add_done_callback(noting(number))
            futures.append(future)
            bar.update(1)
        sent_s = time.monotonic() - began
        confirmed = [future.result(60) for future in futures]
    covered = watcher.wait_covered(confirmed)
    fresh_ms = (covered - np.array([confirmed_at[number] for number in range(count)])) * 1000
    # The first image goes at once, so n images at a rate take n - 1 pauses.
    return Paced(
        fresh_ms,
        late_s * 1000,
        min(rate, (count - 1) / sent_s) if sent_s else rate,
        (count - 1) / max(float(covered.max() - covered.min()), 1e-9),
    )


def _paced(began: float, count: int, rate: float) -> Iterator[int]:
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield number
