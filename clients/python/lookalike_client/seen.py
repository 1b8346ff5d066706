"""What a client has seen covered: no later answer of its covers less, whichever machine gives it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from lookalike_client.answers import Covered
from lookalike_client.problems import ApiError

# How long an answer that covers as much is waited for where the caller says nothing, and how long one machine may take of that.
# The next question may reach another machine, which is ahead.
WAIT_MS = 5000
TURN_MS = 500


class Seen:
    """The log and the offsets of the answers so far. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._log = ""
        self._offsets: dict[str, int] = {}

    def wanted(self, min_offsets: str | None) -> str | None:
        """The least that the next answer may cover: what was seen, and what the caller asks for."""
        with self._lock:
            offsets = dict(self._offsets)
        for pair in min_offsets.split(",") if min_offsets else ():
            partition, _, offset = pair.partition(":")
            if not offset.isdecimal():
                return min_offsets  # which the API refuses
            offsets[partition] = max(int(offset), offsets.get(partition, 0))
        return ",".join(f"{partition}:{offset}" for partition, offset in offsets.items()) or None

    def take(self, coverage: Covered) -> None:
        """Note what an answer covers.

        Raises:
            ApiError: 412 `not-covered`: it is of a log that was not seen before, and nobody can say whether that is an older one.
        """
        with self._lock:
            if coverage.log == self._log:
                for partition, offset in coverage.offsets.items():
                    self._offsets[partition] = max(offset, self._offsets.get(partition, 0))
            elif not self._log or coverage.end_offsets is not None:
                self._log, self._offsets = coverage.log, dict(coverage.offsets)
            else:
                raise ApiError(
                    412,
                    "not-covered",
                    f"The answer is of the log {coverage.log}, an earlier one was of {self._log}, and the API does not know which is "
                    "the topic's now. Try again once it reaches Kafka.",
                )

    def is_behind(self, error: ApiError) -> bool:
        """Whether another attempt may be answered: an index is behind, or the topic was created anew and this now knows it."""
        coverage = error.problem.get("coverage")
        if error.code != "not-covered":
            return False
        if isinstance(coverage, Mapping):
            self._forget_older(coverage)
        return True

    def forget(self, log: str) -> bool:
        """Begin anew if the topic's log is another one now; whether it is."""
        with self._lock:
            if not self._offsets or log in ("", self._log):
                return False
            self._log, self._offsets = log, {}
            return True

    def _forget_older(self, coverage: Mapping[str, Any]) -> None:
        # Only of the log that Kafka's topic is now the ends are told.
        if coverage.get("end_offsets") is not None:
            self.forget(str(coverage.get("log") or ""))
