"""Which nodes a statement is asked of: each once, whatever other statements do meanwhile."""

from types import SimpleNamespace

from cassandra.connection import DefaultEndPoint
from cassandra.metadata import KeyspaceMetadata, Metadata
from cassandra.policies import SimpleConvictionPolicy
from cassandra.pool import Host
from cassandra.query import SimpleStatement

from gallery.store.session import profile

HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def test_a_statement_asks_each_replica_once_while_others_are_planned() -> None:
    metadata, tokens = Metadata(), {}
    for number, address in enumerate(HOSTS):
        host = Host(DefaultEndPoint(address), SimpleConvictionPolicy)
        host.set_location_info("datacenter1", "rack1")
        host.set_up()
        metadata.add_or_return_host(host)
        tokens[host] = [str(number * 2**62)]
    metadata.keyspaces["gallery"] = KeyspaceMetadata("gallery", True, "SimpleStrategy", {"replication_factor": "3"})
    metadata.rebuild_token_map("org.apache.cassandra.dht.Murmur3Partitioner", tokens)
    policy = profile("datacenter1").load_balancing_policy
    policy.populate(SimpleNamespace(metadata=metadata), metadata.all_hosts())

    def plan(n: int) -> list[str]:
        found = []
        for host in policy.make_query_plan("gallery", SimpleStatement("", routing_key=b"one bucket")):
            found.append(host.address)
            if n:
                plan(n - 1)
        return found

    for _ in range(20):
        assert sorted(plan(2)) == list(HOSTS)
