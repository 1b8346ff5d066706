"""The nodes of Kafka and of Cassandra: one, or three that are told apart by their addresses of loopback."""

from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigurationError
from contract.nodes import LOOPBACK, hosts
from contract.settings import PREFIX, Settings

FIRST = "127.0.0.1"


@dataclass(frozen=True)
class Node:
    """One server of a kind.

    Attributes:
        number: from 1.
        host: that it listens on.
        name: of its process.
        home: folder of its data; that of three lies in the folder in which one node would have its own.
    """

    number: int
    host: str
    name: str
    home: Path


def nodes(settings: Settings, server: str) -> list[Node]:
    """The nodes of `kafka` or `cassandra`.

    Raises:
        ConfigurationError: the settings name others than these, or the data are those of another number of nodes.
    """
    _refuse_other_addresses(settings)
    home = settings.var_dir.resolve() / server
    _refuse_other_number(settings, home)
    if settings.stack_nodes == 1:
        return [Node(1, FIRST, server, home)]
    if settings.stack_secured:
        raise ConfigurationError(
            f"{PREFIX}STACK_SECURED=true with {PREFIX}STACK_NODES={settings.stack_nodes}: `stack` secures one node only. "
            "Unset one of them; docs/security.md says what a cluster of your own needs."
        )
    found = enumerate(hosts(settings.stack_nodes), 1)
    return [Node(number, host, f"{server}-{number}", home / str(number)) for number, host in found]


def kafka_port(settings: Settings) -> int:
    """The port at which each broker serves."""
    return int(settings.kafka_bootstrap.rpartition(":")[2])


def _refuse_other_addresses(settings: Settings) -> None:
    port, wanted = kafka_port(settings), hosts(settings.stack_nodes)
    brokers = settings.kafka_bootstrap.split(",")
    is_one = settings.stack_nodes == 1
    if brokers != [f"{host}:{port}" for host in wanted] and not (is_one and brokers[0].rpartition(":")[0] in LOOPBACK):
        raise ConfigurationError(
            f"{PREFIX}KAFKA_BOOTSTRAP={settings.kafka_bootstrap}: `stack` starts Kafka at {', '.join(wanted)} only. "
            "Leave it at 127.0.0.1 and choose the port, or start the programs alone: `python -m stack up --only programs`."
        )
    named = settings.cassandra_hosts
    if named.split(",") != wanted and not (is_one and named in LOOPBACK):
        raise ConfigurationError(
            f"{PREFIX}CASSANDRA_HOSTS={named}: `stack` starts Cassandra at {', '.join(wanted)} only. "
            "Leave it at 127.0.0.1, or start the programs alone: `python -m stack up --only programs`."
        )


def _refuse_other_number(settings: Settings, home: Path) -> None:
    """See that data are not left behind unseen: nothing moves those of one node to three, or back, but a backup."""
    if settings.stack_nodes == 1:
        is_other, made_with = (home / "1").exists(), 3
    else:
        is_other, made_with = (home / "data").exists(), 1
    if is_other:
        raise ConfigurationError(
            f"{PREFIX}STACK_NODES={settings.stack_nodes}, but {home} was made with {made_with}. Start it with "
            f"`--nodes {made_with}`, or give this stack a folder of its own with {PREFIX}VAR_DIR; `lookalike backup` and "
            "`lookalike restore` bring everything from one to the other."
        )
