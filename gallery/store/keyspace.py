"""The keyspace: in which data centre it is, and how many replicas it has there."""

from collections import Counter
from collections.abc import Mapping

from cassandra.cluster import Cluster

from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings


def nodes_by_datacenter(cluster: Cluster) -> Mapping[str, int]:
    """How many nodes each data centre has, also those that are away, as the driver was told; none before it was told."""
    return Counter(host.datacenter for host in cluster.metadata.all_hosts() if host.datacenter)


def refuse_other_datacenter(settings: Settings, nodes: Mapping[str, int]) -> None:
    """See that the data centre that the settings name is one.

    Raises:
        ConfigurationError: it is not.
    """
    wanted = settings.cassandra_datacenter
    if wanted and nodes and wanted not in nodes:
        raise ConfigurationError(
            f"{PREFIX}CASSANDRA_DATACENTER={wanted}: Cassandra at {settings.cassandra_hosts} has {', '.join(sorted(nodes))}. "
            "Name one of these, or none."
        )


def keyspace_statement(settings: Settings, nodes: Mapping[str, int]) -> str:
    """The statement that makes the keyspace, in one data centre: LOCAL_QUORUM would know nothing of another one.

    Raises:
        ConfigurationError: there are fewer nodes than replicas, or several data centres and none is named.
    """
    refuse_other_datacenter(settings, nodes)
    if not settings.cassandra_datacenter and len(nodes) > 1:
        raise ConfigurationError(
            f"{PREFIX}CASSANDRA_DATACENTER is not set, and Cassandra at {settings.cassandra_hosts} has "
            f"{', '.join(sorted(nodes))}. Name the one that is to hold keyspace {settings.cassandra_keyspace}."
        )
    datacenter = settings.cassandra_datacenter or next(iter(nodes))
    replicas = settings.cassandra_replication
    if replicas > nodes[datacenter]:
        raise ConfigurationError(
            f"{PREFIX}CASSANDRA_REPLICATION={replicas}, but data centre {datacenter} has {nodes[datacenter]} nodes. Ask for as "
            "many replicas at most, or add nodes first."
        )
    return (
        f"CREATE KEYSPACE IF NOT EXISTS {settings.cassandra_keyspace} "
        f"WITH replication = {{'class': 'NetworkTopologyStrategy', '{datacenter}': {replicas}}}"
    )
