"""Who of a group reads which partitions: each topic is spread over those that subscribe to it.

Faust gives the partitions of the same number of all topics to the same member, as its tables need it. Collections need the
opposite: many topics of one partition each would all be one member's.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor

Assignments = dict[str, dict[str, list[int]]]


class SpreadingAssignor(PartitionAssignor):
    """Gives each member partitions of the topics that it subscribes to, and to all about as many."""

    VERSION = 4

    @property
    def version(self) -> int:
        """Of what members tell each other; Faust's."""
        return self.VERSION

    def metadata(self, topics: set[str]) -> Any:
        """What this member tells the others: the topics in order, so that the next process can compare them."""
        found = super().metadata(topics)
        return ConsumerProtocolMemberMetadata(found.version, sorted(topics), found.user_data)

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        clients = {member: self._get_client_metadata(found) for member, found in member_metadata.items()}
        self._update_member_urls(clients)
        spread = spread_over_members(
            {member: set(found.subscription) for member, found in member_metadata.items()},
            {member: client.assignment.actives for member, client in clients.items()},
            {
                topic: len(cluster.partitions_for_topic(topic) or ())
                for topic in {topic for found in member_metadata.values() for topic in found.subscription}
            },
        )
        assignments = {member: ClientAssignment(actives=actives, standbys={}) for member, actives in spread.items()}
        groups = dict.fromkeys((topic for found in member_metadata.values() for topic in found.subscription), 0)
        return self._protocol_assignments(assignments, {}, {}, groups)


def spread_over_members(
    subscriptions: Mapping[str, set[str]], before: Mapping[str, Mapping[str, list[int]]], partitions: Mapping[str, int]
) -> Assignments:
    """Partitions by topic of each member.

    A partition stays where it was `before` while that member has no more than its part of all that it could be given. The
    others go, one by one, to the subscriber that has fewest of the topic, and among those fewest at all.

    Args:
        subscriptions: topics of each member.
        before: what each had, by topic.
        partitions: how many each topic has; 0 of one that is not there.
    """
    spread: Assignments = {member: {} for member in subscriptions}
    load: Counter[str] = Counter()
    fair = _part(sum(partitions.values()), len(subscriptions))
    for topic, count in sorted(partitions.items()):
        members = sorted(member for member, topics in subscriptions.items() if topic in topics)
        owners: dict[int, str] = {}
        for member in members:
            had = sorted(set(before.get(member, {}).get(topic, ())) & set(range(count)) - owners.keys())
            kept = had[: max(min(_part(count, len(members)), fair - load[member]), 0)]
            owners |= dict.fromkeys(kept, member)
            load[member] += len(kept)
        for partition in range(count):
            if partition not in owners:
                of_topic = Counter(owners.values())
                owners[partition] = min(members, key=lambda member: (of_topic[member], load[member], member))
                load[owners[partition]] += 1
            spread[owners[partition]].setdefault(topic, []).append(partition)
    return spread


def _part(count: int, members: int) -> int:
    """What one of so many gets at most."""
    return -(-count // max(members, 1))
