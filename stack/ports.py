"""Ports for a stack beside whatever else runs."""

import random
import socket
from contextlib import ExitStack, suppress
from typing import Any

from stack.service import is_taken

# Below those that systems give to outgoing connections: such a one may take a port before the server does for which it was found.
_PORTS = range(15_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing uses now, all different, by chance."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
            if len(found) == count:
                break
            with suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    return found


def own_ports() -> dict[str, Any]:
    """Settings, by field name, that have Kafka, Cassandra and the API of a stack listen on free ports of loopback."""
    kafka, controller, cassandra, storage, api = free_ports(5)
    jmx = next(first for first in free_ports(20) if not any(map(is_taken, (first + 1, first + 2))))
    return {
        "kafka_bootstrap": f"127.0.0.1:{kafka}",
        "kafka_controller_port": controller,
        "cassandra_hosts": "127.0.0.1",
        "cassandra_port": cassandra,
        "cassandra_storage_port": storage,
        "cassandra_jmx_port": jmx,
        "api_host": "127.0.0.1",
        "api_port": api,
    }
