"""What the demo shows while it waits: three counters that follow one another, and what the supervisors report."""

import sys
import time
from collections.abc import Mapping

from contract.settings import Settings
from stack import groups

_SPARSE_S = 5.0


class Progress:
    """Published, stored and searchable records, counted in offsets behind where the partitions ended before.

    Args:
        total: records that will have come when it is complete; may be set anew.
        before: end offset by partition at the beginning.
    """

    def __init__(self, total: int, before: Mapping[int, int]) -> None:
        self.stored = dict(before)
        self.is_complete = False
        self.total = total
        self._before = before
        self._started = time.monotonic()
        self._shown_at = -_SPARSE_S
        self._line = ""
        self._is_terminal = sys.stderr.isatty()

    def show(self, published: Mapping[int, int], stored: Mapping[int, int], searchable: Mapping[int, int]) -> None:
        """Update the line with the next offset of each partition at the three stages."""
        self.stored = dict(stored)
        counts = [self._count(offsets) for offsets in (published, stored, searchable)]
        self.is_complete = counts[2] >= self.total
        elapsed_s = time.monotonic() - self._started
        stages = " · ".join(
            f"{stage} {count:>{len(f'{self.total:,}')},}"
            for stage, count in zip(("published", "stored", "searchable"), counts, strict=True)
        )
        self._line = (
            f"{stages} of {self.total:,} · {elapsed_s:.0f} s · {counts[2] / max(elapsed_s, 0.001):,.0f} images/s"
        )
        if self._is_terminal:
            print(f"\r\x1b[K{self._line}", end="", file=sys.stderr, flush=True)
        elif self.is_complete or time.monotonic() - self._shown_at >= _SPARSE_S:
            self._shown_at = time.monotonic()
            print(self._line, file=sys.stderr, flush=True)

    def interrupt(self, message: str) -> None:
        """Print a message of its own above the line."""
        start = "\r\x1b[K" if self._is_terminal else ""
        print(f"{start}{message}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line."""
        if self._is_terminal:
            print(file=sys.stderr)

    def _count(self, offsets: Mapping[int, int]) -> int:
        came = sum(max(0, offsets.get(partition, 0) - start) for partition, start in self._before.items())
        return min(came, self.total)  # Others may be publishing too.


class Watcher:
    """What the supervisors have written to their logs since this was made: deaths and restarts."""

    def __init__(self, settings: Settings) -> None:
        self._logs = [groups.supervisor_log(settings, group) for group in groups.GROUPS]
        self._read = {log: log.stat().st_size if log.exists() else 0 for log in self._logs}

    def news(self) -> list[str]:
        """What was added since the last call."""
        added = []
        for log in self._logs:
            if log.exists() and log.stat().st_size > self._read[log]:
                with log.open("rb") as file:
                    file.seek(self._read[log])
                    text = file.read()
                self._read[log] += len(text)
                added.append(text.decode(errors="replace").rstrip())
        return added
