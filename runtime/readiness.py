"""Whether a worker does its work: one state for each thing that it needs, so that none hides another's failure."""

import threading
from collections.abc import Iterable

from contract import telemetry


class Readiness:
    """Ready while every part is. Thread-safe.

    A part is a dependency, or `partitions`: those that the group gives this embedder are read, or there are none left to take.
    """

    def __init__(self, parts: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._parts: dict[str, bool] = {}
        self.need(*parts)

    def need(self, *parts: str) -> None:
        """Be ready only once these are; what is needed already stays as it is."""
        with self._lock:
            self._parts = dict.fromkeys(parts, False) | self._parts
            self._tell()

    def note(self, part: str, *, is_good: bool) -> None:
        """Note how a part is now."""
        with self._lock:
            self._parts[part] = is_good
            self._tell()

    def missing(self) -> list[str]:
        """The parts that are not good, in alphabetical order."""
        with self._lock:
            return sorted(part for part, is_good in self._parts.items() if not is_good)

    def _tell(self) -> None:
        for part, is_good in self._parts.items():
            telemetry.DEGRADED.labels(part).set(not is_good)
        telemetry.IS_READY.set(bool(self._parts) and all(self._parts.values()))


# Of this process.
READINESS = Readiness()
