"""The groups of processes, servers, programs and those of a next encoder: brought up by a detached supervisor each, and taken down."""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from contract.errors import ConfigurationError, LookalikeError
from contract.settings import PREFIX, Settings
from stack import programs
from stack.cassandra import cassandra
from stack.jars import ROOT, SERVERS, jars
from stack.java import find_java
from stack.kafka import kafka
from stack.process import last_lines, stop_stranger
from stack.service import Service, refuse_taken_ports
from stack.state import GroupState, read_state, state_file
from stack.supervisor import StartError, Supervisor

GROUPS = ("servers", "programs", "next")
TITLES = {"servers": "servers", "programs": "programs", "next": "next encoder's programs"}
# Longer than every first start together, which end by their own deadlines; fetching jars may take minutes.
UP_S = 900.0
_STOP_SLACK_S = 15.0
_POLL_S = 0.1

# Those that this process started, by pid: only their parent can reap them when they end.
_supervisors: dict[int, "subprocess.Popen[bytes]"] = {}


def steps(settings: Settings, group: str) -> list[list[Service]]:
    """The services of a group; those of one step start together, in order of the steps."""
    if group == "servers":
        numbers = range(1, settings.stack_nodes + 1)
        return [
            # Cassandra takes longer, and starts while Kafka's folders are made.
            [*(cassandra(settings, number) for number in numbers), *(kafka(settings, number) for number in numbers)],
            *([[programs.grants(settings)]] if settings.stack_secured else []),
        ]
    if group == "next":
        return [programs.beside(settings)]
    audits = [[programs.audit(settings)]] if settings.audit_share else []
    return [
        [programs.topics(settings)],
        [programs.embedder(settings), programs.indexer(settings), programs.watcher(settings)],
        [programs.api(settings)],
        *audits,
    ]


def wanted(settings: Settings) -> tuple[str, ...]:
    """The groups that these settings ask for."""
    return GROUPS if settings.next_encoder else GROUPS[:2]


def up(settings: Settings, group: str, *, tied: bool = False) -> bool:
    """Start what of `group` is not running; returns when all of it is ready.

    Args:
        tied: the group ends with the process that called this, however that ends.

    Returns:
        Whether this call started it.

    Raises:
        StartError, ConfigurationError: what failed, with the last log lines.
    """
    state = read_state(settings, group)
    if state is not None and state.is_running:
        _refuse_other_ports(settings, state)
        _wait_until_ready(settings, group, None)
        return False
    _clear(settings, state)
    _check(settings, group)
    log = supervisor_log(settings, group)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "stack", "supervise", group, *(["--tied", str(os.getpid())] if tied else [])],
            cwd=ROOT,
            env={**os.environ, **programs.environment(settings)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _supervisors[supervisor.pid] = supervisor
    try:
        _wait_until_ready(settings, group, supervisor)
    except BaseException:
        # Ctrl-C too: what is half started would otherwise stay behind.
        supervisor.terminate()
        supervisor.wait()
        raise
    return True


def down(settings: Settings, group: str) -> bool:
    """Stop all of `group`, also what an earlier supervisor left behind; returns whether anything ran."""
    state = read_state(settings, group)
    if state is None:
        return False
    stop_s = sum(process.stop_s for process in state.processes) + _STOP_SLACK_S
    was_running = state.is_running
    stop_stranger(state.pid, state.started_at, stop_s)
    if state.pid in _supervisors:
        _supervisors.pop(state.pid).wait()
    _clear(settings, read_state(settings, group))
    return was_running


def supervise(settings: Settings, group: str, tied_to: int | None = None) -> int:
    """Be the supervisor of `group` until SIGTERM; returns the exit status."""
    # Its warnings about a broker that is not there yet are what we wait for.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    is_wanted = _until_told(tied_to)
    lock = _lock(settings, group)
    if lock is None:
        return 0
    file = state_file(settings, group)
    supervisor: Supervisor | None = None
    try:
        supervisor = Supervisor(group, steps(settings, group), file, _say)
        supervisor.start(is_wanted)
        supervisor.keep(is_wanted)
    except LookalikeError as error:
        _say(str(error))
        if supervisor is not None:
            supervisor.stop(failure=str(error))
        return 1
    except BaseException:
        if supervisor is not None:
            supervisor.stop(failure="the supervisor ended by a bug")
        raise
    supervisor.stop()
    lock.close()
    return 0


def supervisor_log(settings: Settings, group: str) -> Path:
    """Where deaths and restarts are told."""
    return settings.var_dir.resolve() / "logs" / f"supervisor-{group}.log"


def _check(settings: Settings, group: str) -> None:
    """Find out here, where the caller reads it, what would keep the supervisor from starting."""
    for service in (service for step in steps(settings, group) for service in step):
        refuse_taken_ports(service)
    if group == "servers":
        find_java()
        for server in SERVERS:
            jars(server)


def _wait_until_ready(settings: Settings, group: str, supervisor: "subprocess.Popen[bytes] | None") -> None:
    """Wait for the state file to say so; `supervisor` is given when we started it ourselves."""
    log = supervisor_log(settings, group)
    deadline = time.monotonic() + UP_S
    while time.monotonic() < deadline:
        # Asked before the state is read: what it wrote last is then what it ended with.
        has_ended = supervisor is not None and supervisor.poll() is not None
        state = read_state(settings, group)
        if state is not None and state.is_ready:
            return
        if state is not None and state.failure and not state.is_running:
            raise StartError(state.failure)
        if has_ended and (state is None or not state.is_running):
            raise StartError(f"The supervisor of the {group} ended. Its last lines ({log}):\n{last_lines(log)}")
        if supervisor is None and state is None:
            raise StartError(f"The {group} were being stopped by somebody else. Run this again.")
        time.sleep(_POLL_S)
    raise StartError(f"The {group} were not ready within {UP_S:.0f} s. See {log}.")


def _refuse_other_ports(settings: Settings, state: GroupState) -> None:
    """A running group answers for its own settings only."""
    running = {process.name: process.ports for process in state.processes}
    for service in (service for step in steps(settings, state.group) for service in step):
        if service.name not in running and state.group == "servers":
            raise ConfigurationError(
                f"{', '.join(running)} already run, but {PREFIX}STACK_NODES asks for {settings.stack_nodes} of each. "
                f"Stop them first (`make down`), or give the second stack a folder of its own with {PREFIX}VAR_DIR."
            )
        for name, port in service.ports.items():
            found = running.get(service.name, {}).get(name, port)
            if found != port:
                raise ConfigurationError(
                    f"{service.name} already runs on port {found}, but {name} asks for {port}. "
                    f"Stop it first (`make down`), or give the second stack a folder of its own with {PREFIX}VAR_DIR."
                )


def _clear(settings: Settings, state: GroupState | None) -> None:
    """Stop what a supervisor that was killed left running, last started first, and forget it."""
    if state is None:
        return
    for process in reversed(state.processes):
        stop_stranger(process.pid, process.started_at, process.stop_s)
    state_file(settings, state.group).unlink(missing_ok=True)


def _lock(settings: Settings, group: str) -> IO[str] | None:
    """Held by the one supervisor of a group; None when another holds it."""
    file = state_file(settings, group).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = file.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _until_told(tied_to: int | None) -> Callable[[], bool]:
    """True until SIGTERM or SIGINT, or until the process that we are tied to is no longer our parent."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, _frame: told.append(signum))
    return lambda: not told and (tied_to is None or os.getppid() == tied_to)


def _say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)
