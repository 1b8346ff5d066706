"""What a supervisor says of its processes, in a file that `status`, `up` and `down` read."""

from pathlib import Path

import msgspec

from contract.settings import Settings
from stack.process import is_alive

STARTING = "starting"
READY = "ready"
DONE = "done"
WAITING = "waiting to restart"
STOPPED = "stopped"
FAILED_STATE = "failed"


class ProcessState(msgspec.Struct, frozen=True):
    """One process; `error` is what it ended with again and again, "" otherwise. `pid` and `started_at` (seconds since the epoch) together name it; both are 0 while none runs."""

    name: str
    state: str
    pid: int
    started_at: float
    ports: dict[str, int]
    log: str
    restarts: int
    stop_s: float
    error: str = ""


class GroupState(msgspec.Struct, frozen=True):
    """One supervisor and its processes in their starting order; `failure` is set when it could not start them."""

    group: str
    pid: int
    started_at: float
    processes: list[ProcessState]
    failure: str = ""

    @property
    def is_running(self) -> bool:
        """Whether the supervisor itself still lives."""
        return is_alive(self.pid, self.started_at)

    @property
    def is_ready(self) -> bool:
        """Whether every process is ready, or has done its work."""
        return self.is_running and all(process.state in (READY, DONE) for process in self.processes)


def state_file(settings: Settings, group: str) -> Path:
    """Where the supervisor of `group` writes its state."""
    return settings.var_dir.resolve() / "run" / f"{group}.json"


def read_state(settings: Settings, group: str) -> GroupState | None:
    """What the last supervisor of `group` wrote; None when it stopped in order, or never ran."""
    try:
        return msgspec.json.decode(state_file(settings, group).read_bytes(), type=GroupState)
    except FileNotFoundError:
        return None


def write_state(file: Path, state: GroupState) -> None:
    """Replace the file whole, so that a reader never meets half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
    fresh.replace(file)
