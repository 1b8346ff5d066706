"""Keeps a group of processes running: starts them in steps, restarts what dies, stops them in reverse order."""

import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from contract.errors import LookalikeError
from stack.process import Child, start_child, start_time
from stack.service import Service
from stack.state import (
    DONE,
    FAILED_STATE,
    READY,
    STARTING,
    STOPPED,
    WAITING,
    GroupState,
    ProcessState,
    write_state,
)

_POLL_S = 0.1
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 30.0
# A process that ran this long had recovered: its next restart begins with the shortest wait again.
STEADY_S = 60.0
# From so many ends in a row with the same error on, it is told: restarting will not mend it.
SAME_ERRORS_TOLD = 3


class StartError(LookalikeError):
    """A process ended, or was not ready in time, at its first start; the message holds its last log lines."""


class Supervisor:
    """Runs the `steps` of a group: the services of one step start together, the next step when all are ready.

    Args:
        file: where the state is written at every change.
        say: told about each death and restart, for people.
        clock: seconds from a monotonic clock.
    """

    def __init__(
        self,
        group: str,
        steps: Sequence[Sequence[Service]],
        file: Path,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._group = group
        self._steps = steps
        self._file = file
        self._say = say
        self._clock = clock
        self._watches = [Watch(service, say) for step in steps for service in step]
        self._identity = (os.getpid(), start_time(os.getpid()))
        self._written: GroupState | None = None
        self._unwritten = ""

    def start(self, is_wanted: Callable[[], bool]) -> None:
        """Start step by step; returns when all are ready, or when no longer wanted.

        Raises:
            StartError: a process failed its first start.
            ConfigurationError: Java or a jar is not as it must be.
        """
        started: list[Watch] = []
        remaining = iter(self._watches)
        for step in self._steps:
            started += [next(remaining) for _ in step]
            while is_wanted():
                self._tick(started)
                if all(watch.state in (READY, DONE) for watch in started):
                    break
                time.sleep(_POLL_S)

    def keep(self, is_wanted: Callable[[], bool]) -> None:
        """Restart whatever dies, until no longer wanted."""
        while is_wanted():
            self._tick(self._watches)
            time.sleep(_POLL_S)

    def stop(self, failure: str = "") -> None:
        """Stop all in reverse order. The state file goes, or stays to tell of `failure`."""
        for watch in reversed(self._watches):
            watch.stop()
            self._write(failure)
        if not failure:
            self._file.unlink(missing_ok=True)

    def _tick(self, watches: Sequence["Watch"]) -> None:
        for watch in watches:
            watch.tick(self._clock())
            self._write()

    def _write(self, failure: str = "") -> None:
        state = GroupState(self._group, *self._identity, [watch.describe() for watch in self._watches], failure)
        if state == self._written:
            return
        try:
            write_state(self._file, state)
        except OSError as error:  # such as a full disk; what runs, runs on
            if str(error) != self._unwritten:
                self._say(f"{self._file} cannot be written, so the status is not up to date: {error}")
            self._unwritten = str(error)
        else:
            self._written, self._unwritten = state, ""


class Watch:
    """One service's process over its restarts."""

    def __init__(self, service: Service, say: Callable[[str], None]) -> None:
        self.service = service
        self.state = STOPPED
        self._say = say
        self._child: Child | None = None
        self._started = 0.0
        self._retry_at = 0.0
        self._back_off_s = BACK_OFF_FIRST_S
        self._restarts = 0
        self._was_ready = False
        self._last_error = ""
        self._same_errors = 0

    def tick(self, now: float) -> None:
        """Start, restart or ask for readiness, whichever is due at `now`.

        Raises:
            StartError: it failed before it was ever ready.
        """
        if self.state == DONE or (self.state == WAITING and now < self._retry_at):
            return
        if self._child is None:
            self._started = now
            try:
                self._child = start_child(self.service)
            except OSError as error:  # such as a full disk
                self._start_again(f"could not be started: {error}", str(error), "", now)
                return
            self.state = STARTING
        code = self._child.exit_code()
        if code is not None:
            self._ended(code, now)
        elif self.state == STARTING:
            self._ask(now)

    def stop(self) -> None:
        """Stop the process, if one runs."""
        if self._child is not None:
            self._child.stop(self.service.stop_s)
            self._child = None
        if self.state != FAILED_STATE:
            self.state = STOPPED

    def describe(self) -> ProcessState:
        """What the state file says of it."""
        pid, started_at = (self._child.pid, self._child.started_at) if self._child else (0, 0.0)
        service = self.service
        return ProcessState(
            service.name,
            self.state,
            pid,
            started_at,
            dict(service.ports),
            str(service.log),
            self._restarts,
            service.stop_s,
            self._last_error if self._same_errors >= SAME_ERRORS_TOLD else "",
        )

    def _ask(self, now: float) -> None:
        service = self.service
        if not service.once and (service.is_ready is None or service.is_ready()):
            self.state = READY
            self._was_ready = True
        elif not self._was_ready and now - self._started > self.service.start_s:
            assert self._child is not None
            raise self._failed(f"was not ready within {self.service.start_s:.0f} s. {self._child.last_words()}")

    def _ended(self, code: int, now: float) -> None:
        assert self._child is not None
        self._child.stop(0.0)  # The leader is gone; this ends what is left of its group.
        told, error = self._child.last_words(), self._child.last_error()
        self._child = None
        if self.service.once and code == 0:
            self.state = DONE
            return
        self._start_again(f"ended with {_meaning(code)}", f"{_meaning(code)}: {error}", told, now)

    def _start_again(self, what: str, error: str, told: str, now: float) -> None:
        """After a while that is the longer the oftener; one that was never ready has failed."""
        if not self._was_ready:
            raise self._failed(f"{what} while starting. {told}".rstrip())
        if now - self._started > STEADY_S:
            self._back_off_s = BACK_OFF_FIRST_S
        self._say(f"{self.service.name} {what}; starting it again in {self._back_off_s:.1f} s. {told}".rstrip())
        is_same = _without_figures(error) == _without_figures(self._last_error) and now - self._started <= STEADY_S
        self._same_errors = self._same_errors + 1 if is_same else 1
        self._last_error = error
        self.state = WAITING
        self._retry_at = now + self._back_off_s
        self._back_off_s = min(2 * self._back_off_s, BACK_OFF_MAX_S)
        self._restarts += 1

    def _failed(self, what: str) -> StartError:
        self.state = FAILED_STATE
        return StartError(f"{self.service.name} {what}")


def _without_figures(error: str) -> str:
    """An error without what differs each time: times, offsets, addresses."""
    return re.sub(r"\d+", "", error)


def _meaning(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
