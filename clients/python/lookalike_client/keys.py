"""Keys that a person presses in a terminal while something else is shown."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections.abc import Iterator
from typing import TextIO

NEXT, BEFORE = "next", "before"
_MEANINGS = {"\t": NEXT, "\x1b[C": NEXT, "\x1b[Z": BEFORE, "\x1b[D": BEFORE}


class Keys:
    """Waits, and says which key ended the wait.

    Args:
        terminal: to read from; None reads nothing.
    """

    def __init__(self, terminal: TextIO | None) -> None:
        self._terminal = terminal

    def wait(self, timeout_s: float) -> str:
        """`NEXT` for tab and right, `BEFORE` for shift and tab and left; "" when the time is over."""
        terminal = self._terminal
        if terminal is None:
            time.sleep(timeout_s)
            return ""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0:
            if not select.select([terminal], [], [], left_s)[0]:
                break
            pressed = os.read(terminal.fileno(), 64)
            if not pressed:  # it was closed
                self._terminal = None
                time.sleep(max(0.0, deadline - time.monotonic()))
            elif (meaning := _MEANINGS.get(pressed.decode("utf-8", "replace"))) is not None:
                return meaning
        return ""


@contextlib.contextmanager
def pressed_keys() -> Iterator[Keys]:
    """Keys as they are pressed, without Enter and without being shown; none where standard input is no terminal."""
    try:
        import termios
        import tty
    except ImportError:  # not on this system
        yield Keys(None)
        return
    # A process in the background would be stopped by the system.
    if not sys.stdin.isatty() or os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp():
        yield Keys(None)
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield Keys(sys.stdin)
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
