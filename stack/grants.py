"""Gives a secured stack's users their passwords, and what they may do: each line of `stack/conf/kafka-acls` and `cassandra-roles.cql`.

Doing it again changes nothing, so every start does it.
"""

import contextlib
import time
from contextlib import closing
from string import Template

from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError
from pydantic import SecretStr

from contract.errors import DependencyError
from contract.settings import Settings
from gallery.store.session import CassandraSession
from gallery.store.store import Store
from stack.jars import ROOT
from stack.secured import OWNER, SCRAM, USERS, as_user, password_of
from topics.clients import open_admin

_CONF = ROOT / "stack" / "conf"
# As Cassandra makes itself one at its first start, a moment after it answers.
_FIRST = "cassandra"
_FIRST_S_MAX = 60.0
_PAUSE_S = 0.3


def grant(settings: Settings) -> None:
    """Grant everything in both servers, which must run.

    Raises:
        DependencyError: one of them did not do it.
    """
    owner = as_user(settings, OWNER)
    _grant_in_kafka(owner)
    _make_owner(owner)
    with closing(Store.connect(owner)):
        pass  # the tables, on which is granted
    with closing(CassandraSession.connect(owner)) as session, session.asked("granting") as driver:
        driver.execute(f"DROP ROLE IF EXISTS {_FIRST}")
        for statement in role_statements(settings):
            driver.execute(statement)


def acl_lines(settings: Settings) -> list[str]:
    """What is granted in Kafka, a line each: user, operation, kind, name, and `prefixed` where it is the begin of names."""
    template = Template((_CONF / "kafka-acls").read_text())
    text = template.substitute(topic=settings.kafka_topic, keyspace=settings.cassandra_keyspace)
    return [line for line in text.splitlines() if not line.startswith("#")]


def role_statements(settings: Settings) -> list[str]:
    """The statements that make and grant Cassandra's roles."""
    template = Template((_CONF / "cassandra-roles.cql").read_text())
    passwords = {user: password_of(settings, user) for user in USERS}
    return template.substitute(passwords, keyspace=settings.cassandra_keyspace).strip().split("\n")


def _grant_in_kafka(owner: Settings) -> None:
    admin = open_admin(owner)
    try:
        passwords = [UserScramCredentialUpsertion(user, SCRAM, password_of(owner, user)) for user in USERS]
        refused = [why for why in admin.alter_user_scram_credentials(passwords).values() if why]
        refused += admin.create_acls([acl(*line.split()) for line in acl_lines(owner)])["failed"]
    except (KafkaError, OSError) as error:
        raise DependencyError("kafka", f"granting failed: {error}") from error
    finally:
        admin.close()
    if refused:
        raise DependencyError("kafka", f"granting failed: {refused}")


def acl(user: str, operation: str, kind: str, name: str, pattern: str = "literal") -> ACL:
    """What a line of `acl_lines` grants."""
    meant = ResourcePattern(ResourceType[kind.upper()], name, ACLResourcePatternType[pattern.upper()])
    return ACL(f"User:{user}", "*", ACLOperation[operation.upper()], ACLPermissionType.ALLOW, meant)


def _make_owner(owner: Settings) -> None:
    """Make the owner's role, as the role that Cassandra makes itself; where that is gone, the owner is there."""
    deadline = time.monotonic() + _FIRST_S_MAX
    first = owner.model_copy(
        update={"cassandra_user": _FIRST, "cassandra_password": SecretStr(_FIRST), "cassandra_password_file": None}
    )
    while True:
        with contextlib.suppress(DependencyError):
            CassandraSession.connect(owner).close()
            return
        try:
            with closing(CassandraSession.connect(first)) as session, session.asked("making the owner") as driver:
                driver.execute(
                    f"CREATE ROLE IF NOT EXISTS {OWNER} WITH SUPERUSER = true AND LOGIN = true AND PASSWORD = '{password_of(owner, OWNER)}'"
                )
        except DependencyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
