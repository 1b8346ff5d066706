"""How `status` shows the processes."""

from pathlib import Path
from typing import Any

import msgspec

from stack.state import GroupState


def print_states(states: list[GroupState]) -> None:
    """A line for each process."""
    print(f"{'PROCESS':<12}{'STATE':<20}{'PID':>8}  {'RESTARTS':>8}  {'PORTS':<18} LOG")
    for state in states:
        for process in state.processes:
            ports = ",".join(map(str, process.ports.values())) or "-"
            shown = process.state if state.is_running else "supervisor is gone"
            pid = process.pid or "-"
            print(f"{process.name:<12}{shown:<20}{pid:>8}  {process.restarts:>8}  {ports:<18} {_short(process.log)}")
            if process.error:
                print(f"  {process.name} ends with the same error again and again: {process.error}")
        if state.failure:
            print(f"The {state.group} could not be started: {state.failure}")


def described(state: GroupState) -> dict[str, Any]:
    """The same for programs."""
    told: dict[str, Any] = msgspec.to_builtins(state)
    return {**told, "is_running": state.is_running, "is_ready": state.is_ready}


def _short(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
