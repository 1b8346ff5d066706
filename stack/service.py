"""What the supervisor has to know of one process: how it is started, when it is ready, which ports it takes."""

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from contract.errors import ConfigurationError

_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process of the stack.

    Args:
        host: address of loopback that it listens on; what only its operator asks, it may have at 127.0.0.1.
        ports: every port it listens on, by the environment variable that moves it.
        prepare: makes folders and configuration, before every start.
        is_ready: a quick question; None means ready as soon as it runs.
        once: it does its work and ends with status 0, which makes it ready.
        start_s: seconds after which a first start that is not ready has failed.
        stop_s: seconds between SIGTERM and SIGKILL.
    """

    name: str
    command: Callable[[], list[str]]
    log: Path
    host: str = _LOOPBACK
    ports: Mapping[str, int] = field(default_factory=dict)
    prepare: Callable[[], None] = lambda: None
    is_ready: Callable[[], bool] | None = None
    once: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 240.0
    stop_s: float = 30.0


def refuse_taken_ports(service: Service) -> None:
    """Check that all ports of `service` are free.

    Raises:
        ConfigurationError: one is taken; names the setting that moves ours.
    """
    for setting, port in service.ports.items():
        if is_taken(port, service.host):
            raise ConfigurationError(
                f"{service.name} cannot start: port {port} is taken{_holder(port)}. "
                f"Stop that program, or move this port with {setting}."
            )


def is_taken(port: int, host: str = _LOOPBACK) -> bool:
    """Whether something listens on `port` of an address of loopback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def _holder(port: int) -> str:
    """` by NAME (pid N)` where the system lets us see it, else an empty string."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr[1:] == (port,):
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""
