"""Takes former selves of this embedder out of its consumer group, where Kafka would hand on what does not fit any more.

Kafka gives a static member that comes back what it had before, also when it now subscribes to other topics.
"""

import logging
from collections.abc import Set as AbstractSet

import structlog
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from contract.errors import DependencyError
from contract.settings import Settings
from topics.clients import open_admin
from workers.embedder.assignor import SpreadingAssignor

logger = structlog.get_logger()


def forget_former_selves(
    settings: Settings, group: str, instance: str, *, topics: AbstractSet[str], begin: str, end: str
) -> None:
    """Take out members whose instance ids begin and end so, but not `instance` itself where it subscribes to these topics.

    Without that the group would wait for them until their sessions end. So where Kafka does not do it, nothing is lost.
    """
    try:
        admin = open_admin(settings)
    except DependencyError as error:
        logger.info("group not asked", group=group, detail=str(error))
        return
    # It would warn that it cannot read what Faust adds to the members' metadata.
    logging.getLogger("kafka.admin._groups").setLevel(logging.ERROR)
    try:
        found = {
            member["group_instance_id"]: member["member_metadata"]
            for member in admin.describe_groups([group])[group]["members"]
            if member["group_instance_id"]
        }
        gone = [
            one
            for one, metadata in found.items()
            if one.startswith(begin) and one.endswith(end) and not (one == instance and _names(metadata, topics))
        ]
        if gone:
            logger.info("former selves leave the group", members=gone)
            admin.remove_group_members(group, [MemberToRemove(group_instance_id=one) for one in gone])
    except (KafkaError, OSError) as error:
        logger.info("group not asked", group=group, detail=str(error))
    finally:
        admin.close()


def _names(metadata: object, topics: AbstractSet[str]) -> bool:
    """Whether a member's metadata, in the text that kafka-python makes of it, begin with exactly these topics."""
    wanted = ConsumerProtocolMemberMetadata(SpreadingAssignor.VERSION, sorted(topics), b"").encode()
    empty_user_data = 4
    return isinstance(metadata, str) and metadata.startswith(
        wanted[:-empty_user_data].decode(errors="backslashreplace")
    )
