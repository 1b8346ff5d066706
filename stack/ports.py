"""Ports for a stack beside whatever else runs."""

import socket
from contextlib import ExitStack
from typing import Any

from stack.service import is_taken


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nothing uses now, all different."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


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
