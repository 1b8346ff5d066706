"""An embedder among the static members of its consumer group: its name there, its former selves, and others of its name.

Kafka gives a static member that comes back what it had before, also when it now subscribes to other topics: so what does not
fit any more is taken out. And it lets whoever comes take the place of a living member of the same name.
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor
from typing import NamedTuple

import structlog
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from kafka.admin import MemberToRemove
from kafka.errors import KafkaError

from contract.errors import DependencyError
from contract.settings import PREFIX, Settings
from topics.clients import open_admin
from workers.embedder.assignor import SpreadingAssignor

# How soon it is noticed that another embedder of the same name has gone.
NAME_TAKEN_INTERVAL_S = 2.0

logger = structlog.get_logger()


class Instance(NamedTuple):
    """A static member's name: what it reads, on which machine, in which slot."""

    group: str
    logs: str
    machine: str
    slot: int

    @classmethod
    def of(cls, group: str, logs: Iterable[str], *, machine: str, slot: int) -> "Instance":
        """That of an embedder that reads these logs."""
        return cls(group, hashlib.sha256("\n".join(sorted(logs)).encode()).hexdigest()[:16], machine, slot)

    @property
    def text(self) -> str:
        """As Kafka takes it."""
        return f"{self.group}-{self.logs}-{self.machine}-slot-{self.slot}"

    def is_former_self(self, text: str) -> bool:
        """Whether this is the name of the same slot of the same machine, whatever it read."""
        return self._replace(logs=text[len(self.group) + 1 :][: len(self.logs)]).text == text


def forget_former_selves(settings: Settings, instance: Instance, *, topics: AbstractSet[str]) -> None:
    """Take out members of the same machine and slot, but not `instance` itself where it subscribes to these topics.

    Without that the group would wait for them until their sessions end. So where Kafka does not do it, nothing is lost.
    """
    group = instance.group
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
            if instance.is_former_self(one) and not (one == instance.text and _names(metadata, topics))
        ]
        if gone:
            logger.info("former selves leave the group", members=gone)
            admin.remove_group_members(group, [MemberToRemove(group_instance_id=one) for one in gone])
    except (KafkaError, OSError) as error:
        logger.info("group not asked", group=group, detail=str(error))
    finally:
        admin.close()


async def wait_while_taken(settings: Settings, instance: Instance, member: str, asking: Executor) -> None:
    """Return once no other process is in the group under this one's name. Both would else take it from each other for ever.

    Args:
        member: Kafka's id of this one's membership, which it has lost.
    """
    loop, is_told = asyncio.get_running_loop(), False
    while await loop.run_in_executor(asking, _member_of, settings, instance) not in ("", member):
        if not is_told:
            logger.error(
                "another embedder has this one's name",
                group=instance.group,
                host_name=instance.machine,
                slot=instance.slot,
                remedy="Of those with the same host name and slot only the newest reads. Give each on this machine a --slot of its "
                f"own, and each machine or container a {PREFIX}HOST_NAME of its own.",
            )
        is_told = True
        await asyncio.sleep(NAME_TAKEN_INTERVAL_S)
    if is_told:
        logger.info("this one's name is free again", group=instance.group)


def _member_of(settings: Settings, instance: Instance) -> str:
    """Kafka's id of the member that has this name now; "" for none, and where Kafka does not say."""
    try:
        admin = open_admin(settings)
    except DependencyError:
        return ""
    logging.getLogger("kafka.admin._groups").setLevel(logging.ERROR)
    try:
        members = admin.describe_groups([instance.group])[instance.group]["members"]
        found = [member["member_id"] for member in members if member["group_instance_id"] == instance.text]
        return str(found[0]) if found else ""
    except (KafkaError, OSError):
        return ""
    finally:
        admin.close()


def _names(metadata: object, topics: AbstractSet[str]) -> bool:
    """Whether a member's metadata, in the text that kafka-python makes of it, begin with exactly these topics."""
    wanted = ConsumerProtocolMemberMetadata(SpreadingAssignor.VERSION, sorted(topics), b"").encode()
    empty_user_data = 4
    return isinstance(metadata, str) and metadata.startswith(
        wanted[:-empty_user_data].decode(errors="backslashreplace")
    )
