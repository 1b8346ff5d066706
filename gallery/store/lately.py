"""What a whole table says, as it was told lately.

Cassandra asks two of three replicas about a range, and waits for one that has just gone although the third could tell: until gossip
tells that it has, some ten seconds. Of a single partition it asks the third at once.
"""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from contract.errors import DependencyError

# Longer than an answer takes, but not as long as others may wait for what comes after it.
AT_ONCE_S = 1.0
# What was told is enough for so long. Longer than gossip takes.
LATELY_S = 30.0

T = TypeVar("T")


class Lately(Generic[T]):
    """An answer that is asked for again and again. Thread-safe; one asks, and the others wait for that.

    Args:
        ask: with how long it may take, in seconds; None is as long as anything may.
        clock: seconds that never go back.
    """

    def __init__(self, ask: Callable[[float | None], T], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = threading.Lock()
        self._told: list[T] = []
        self._told_s = self._failed_s = float("-inf")

    def get(self, age_s: float) -> T:
        """What was told no longer than `age_s` ago. Where that is not told at once, what was told lately; unless `age_s` is 0.

        Raises:
            DependencyError: it is not told.
        """
        with self._lock:
            now_s = self._clock()
            is_enough = age_s > 0 and now_s - self._told_s < LATELY_S
            if now_s - self._told_s >= age_s and not (is_enough and now_s - self._failed_s < AT_ONCE_S):
                try:
                    self._told, self._told_s = [self._ask(AT_ONCE_S if is_enough else None)], now_s
                except DependencyError:
                    if not is_enough:
                        raise
                    self._failed_s = self._clock()
            return self._told[0]
