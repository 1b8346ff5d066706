"""A rate over the last seconds, from a total that grows."""

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 5.0


class Rate:
    """How fast a total grew over the last `WINDOW_S` seconds.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, total: int) -> None:
        """Take the total as it stands now; one that shrank (another log) starts anew."""
        now = self._clock()
        if self._samples and total < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((now, total))
        # One sample older than the window stays: growth is counted from it.
        while len(self._samples) > 1 and self._samples[1][0] < now - WINDOW_S:
            self._samples.popleft()

    @property
    def per_s(self) -> float:
        """Growth per second, 0 before the second sample."""
        if len(self._samples) < 2:
            return 0.0
        (start_s, start), (_, end) = self._samples[0], self._samples[-1]
        return (end - start) / max(WINDOW_S, self._clock() - start_s)
