"""Ctrl-C and SIGTERM that are noticed between two images, never inside one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, the first signal is only noted, except in `idle()`; the second one always interrupts.

    An exception in the middle of a send could leave the Kafka client's buffers half changed.

    Attributes:
        number: the signal that came, 0 while none has.
    """

    def __init__(self) -> None:
        self.number = 0
        self._is_idle = False

    def __enter__(self) -> "Interrupt":
        self._previous = {number: signal.signal(number, self._notice) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Within, a signal interrupts at once: reading a source or waiting loses nothing.

        Raises:
            KeyboardInterrupt: a signal came, now or earlier.
        """
        self._is_idle = True
        try:
            if self.number:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_idle = False

    def _notice(self, number: int, _frame: FrameType | None) -> None:
        is_second = self.number != 0
        self.number = number
        if self._is_idle or is_second:
            raise KeyboardInterrupt
