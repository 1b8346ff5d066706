"""Work off the event loop: a bounded number at once, a bounded number waiting."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from api.problems import ProblemError

T = TypeVar("T")


class Gate:
    """Runs blocking functions in threads.

    Args:
        running_max: how many run at once.
        waiting_max: how many may wait; one more is refused, so that a crowd cannot fill the memory.
    """

    def __init__(self, running_max: int, waiting_max: int) -> None:
        self._limiter = anyio.CapacityLimiter(running_max)
        self._inside_max = running_max + waiting_max
        self._inside = 0

    async def run(self, function: Callable[[], T]) -> T:
        """The function's result.

        Raises:
            ProblemError: 503 ``busy``.
        """
        if self._inside >= self._inside_max:
            raise busy(self._inside)
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(function, limiter=self._limiter)
        finally:
            self._inside -= 1


def busy(requests: int) -> ProblemError:
    """503: more requests are here than can be answered soon."""
    return ProblemError(
        503, "busy", f"{requests} requests are being worked on or wait already; try again later.", retry=True
    )
