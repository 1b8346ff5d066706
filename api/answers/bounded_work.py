"""Work that blocks: quick work at once, other work off the event loop, a bounded number at once and a bounded number waiting."""

import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from api.answers.problems import ProblemError

T = TypeVar("T")

# The quickest of so many tells, since anything may come between: another process, or a thread that holds the interpreter.
TIMED = 8


class BoundedWork:
    """Runs functions of one kind, all of which block: in threads, or on the event loop as long as they are quick.

    Args:
        running_max: how many run at once.
        waiting_max: how many may wait; one more is refused, so that a crowd cannot fill the memory.
        quick_s: what lately took less is done on the event loop; only for functions that compute and wait for nobody.
    """

    def __init__(self, running_max: int, waiting_max: int, *, quick_s: float = 0.0) -> None:
        self._limiter = anyio.CapacityLimiter(running_max)
        self._inside_max = running_max + waiting_max
        self._inside = 0
        self._took_s = deque([quick_s], maxlen=TIMED)
        self._quick_s = quick_s

    async def run(self, function: Callable[[], T], *, is_long: bool = False) -> tuple[T, float]:
        """The function's result and the seconds that it took, its wait for a thread left out.

        Args:
            is_long: it takes many times as long as others of its kind: a thread's work, and it says nothing of how quick those are.

        Raises:
            ProblemError: 503 ``busy``.
        """
        if self._inside >= self._inside_max:
            raise busy(self._inside)
        if not is_long and min(self._took_s) < self._quick_s:
            result, took_s = _timed(function)
        else:
            self._inside += 1
            try:
                result, took_s = await anyio.to_thread.run_sync(_timed, function, limiter=self._limiter)
            finally:
                self._inside -= 1
        if not is_long:
            self._took_s.append(took_s)
        return result, took_s


def _timed(function: Callable[[], T]) -> tuple[T, float]:
    began_s = time.perf_counter()
    result = function()
    return result, time.perf_counter() - began_s


def busy(requests: int) -> ProblemError:
    """503: more requests are here than can be answered soon."""
    return ProblemError(
        503, "busy", f"{requests} requests are being worked on or wait already; try again later.", retry=True
    )
