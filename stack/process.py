"""One running process in a process group of its own: started, recognised again by its start time, and stopped."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from stack.jars import ROOT
from stack.service import Service

LOG_BYTES_MAX = 20 * 1024 * 1024
# A process's start time is computed from the boot time, which moves a little when the clock is set.
_START_TIME_TOLERANCE_S = 2.0
_POLL_S = 0.05
_LINES_SHOWN = 15


class Child:
    """A started process; its output goes to the end of its log file."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        _rotate(log)
        self._log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group and session of its own: Ctrl-C in a terminal reaches only the one who stops us in order.
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.started_at = start_time(self.pid)

    def exit_code(self) -> int | None:
        """None while it runs; negative is a signal's number."""
        return self._process.poll()

    def last_words(self) -> str:
        """A sentence with the end of what it has written."""
        return f"Its last lines ({self._log}):\n{last_lines(self._log, self._log_start)}"

    def last_error(self) -> str:
        """The last error that it has written, on one line; its last line where none is marked as one."""
        return error_in(_end(self._log, self._log_start))

    def stop(self, stop_s: float) -> None:
        """SIGTERM to the process, SIGKILL to all of its group after `stop_s` seconds; returns when it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(stop_s)
        except subprocess.TimeoutExpired:
            pass
        _kill_group(self.pid)
        self._process.wait()


def start_child(service: Service) -> Child:
    """Start a service's process with our environment and its own additions."""
    service.prepare()
    return Child(service.command(), service.log, {**os.environ, "PYTHONUNBUFFERED": "1", **service.environment})


def start_time(pid: int) -> float:
    """When `pid` was started, in seconds since the epoch; 0 when there is no such process."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def is_alive(pid: int, started_at: float) -> bool:
    """Whether `pid` runs and is still the process that was started then, not a later one with its number."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - started_at) < _START_TIME_TOLERANCE_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_stranger(pid: int, started_at: float, stop_s: float) -> None:
    """Stop a process that another one of ours started: SIGTERM, then SIGKILL to its group after `stop_s` seconds."""
    if not is_alive(pid, started_at):
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + stop_s
    while is_alive(pid, started_at) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if is_alive(pid, started_at):
        _kill_group(pid)


def last_lines(log: Path, start: int = 0) -> str:
    """The end of a log file, behind byte `start`, indented for a message."""
    return "\n".join(f"    {line[:400]}" for line in _end(log, start).splitlines()[-_LINES_SHOWN:])


def _end(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - 16_384))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def _kill_group(pid: int) -> None:
    """SIGKILL whatever is left of the group that `pid` led."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS answers EPERM when only zombies are left.
        pass


def _rotate(log: Path) -> None:
    """Keep one older log once it is long."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))


def error_in(text: str) -> str:
    """The last error in a program's output: a log's event of that level, or a line that begins with `error:`, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if line.startswith("error:"):
            return line
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("level") == "error":
            exception = str(event.get("exception", "")).strip().splitlines()
            return ": ".join(str(each) for each in (event.get("event"), event.get("detail"), *exception[-1:]) if each)
    return lines[-1] if lines else "no output"
