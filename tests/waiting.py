"""Waiting with a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(probe: Callable[[], T | None], timeout_s: float = 60.0) -> T:
    """Ask until the answer is not None; fail with the last answer's time when the deadline passes."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = probe()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"nothing came within {timeout_s} s"
        time.sleep(0.02)
