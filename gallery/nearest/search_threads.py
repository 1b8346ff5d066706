"""Threads that searches share: a long search uses others beside its own, as long as they are free."""

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class SearchThreads:
    """All searches of a process together use a thread each, and those that are here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = 0
        self._pool: ThreadPoolExecutor | None = None

    def use(self, count: int) -> None:
        """From now on, up to `count` threads are for one search, its own among them; 0 is half of the machine's cores.

        Called once, before searches begin.
        """
        count = count or max(1, (os.cpu_count() or 1) // 2)
        self._free = count - 1
        self._pool = ThreadPoolExecutor(self._free, "search") if self._free else None

    def run(self, work: Callable[[int, int], T], size: int, smallest: int) -> list[T]:
        """What `work` says of each part of [0, size), by first and end; of one part if that has less than twice the smallest."""
        others = self._taken(size // smallest - 1)
        if not others or self._pool is None:
            return [work(0, size)]
        try:
            bounds = [size * part // (others + 1) for part in range(others + 2)]
            futures = [self._pool.submit(work, *part) for part in itertools.pairwise(bounds[1:])]
            return [work(0, bounds[1]), *(future.result() for future in futures)]
        finally:
            with self._lock:
                self._free += others

    def _taken(self, wanted: int) -> int:
        with self._lock:
            others = max(0, min(wanted, self._free))
            self._free -= others
            return others


SEARCH_THREADS = SearchThreads()
