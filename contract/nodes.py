"""What follows from how many nodes `stack` starts: where they are, and how many replicas there are."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contract.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost")
_HEAP_MIB = 512


def hosts(nodes: int) -> list[str]:
    """The addresses of this machine at which they listen, all on the same ports."""
    return [f"127.0.0.{number}" for number in range(1, nodes + 1)]


def with_all_nodes(settings: "Settings") -> "Settings":
    """The settings with the addresses of all nodes where they name the first alone, and with as many replicas unless they say how many."""
    nodes = settings.stack_nodes
    if nodes == 1:
        return settings
    told = settings.model_fields_set
    changes: dict[str, Any] = {}
    host, _, port = settings.kafka_bootstrap.rpartition(":")
    if host in LOOPBACK:
        changes["kafka_bootstrap"] = ",".join(f"{each}:{port}" for each in hosts(nodes))
    if settings.cassandra_hosts in LOOPBACK:
        changes["cassandra_hosts"] = ",".join(hosts(nodes))
    changes |= {name: nodes for name in ("kafka_replication", "cassandra_replication") if name not in told}
    if "cassandra_heap_mib" not in told:
        changes["cassandra_heap_mib"] = _HEAP_MIB
    return settings.model_copy(update=changes)
