"""Named places at which a test may have a process killed; nothing happens unless the environment arms them.

LOOKALIKE_FAILPOINTS="embedder-before-ack:3" kills the process with SIGKILL when it comes to that place for the third time;
without a number, the first time. Several are separated by commas.
"""

import os
import signal
from functools import cache

VARIABLE = "LOOKALIKE_FAILPOINTS"


def failpoint(name: str) -> None:
    """Die here if this place is armed and its count is used up."""
    armed = _armed()
    if name in armed:
        armed[name] -= 1
        if armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)


@cache
def _armed() -> dict[str, int]:
    places = (place.partition(":") for place in os.environ.get(VARIABLE, "").split(",") if place)
    return {name.strip(): int(count or 1) for name, _, count in places}
