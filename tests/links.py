"""The ways from each program to Kafka and Cassandra: relays of their own, so that one of them fails while the others work."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from contract.settings import Settings
from stack.kafka import kafka
from stack.ports import free_ports
from stack.service import Service
from tests.relay import Relay

SERVERS = ("kafka", "cassandra")
LINKED = ("embedder", "indexer", "watcher", "api")


class Links:
    """A relay from each program to each server.

    Kafka tells its clients where to connect, so it has a listener for each program, and tells each the port of its relay.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._listeners = dict(zip(LINKED, free_ports(len(LINKED)), strict=True))
        self._relays = {(name, "kafka"): Relay(port) for name, port in self._listeners.items()}
        self._relays |= {(name, "cassandra"): Relay(settings.cassandra_port) for name in LINKED}
        for relay in self._relays.values():
            self._stack.enter_context(relay)

    def of(self, *, program: str = "", server: str = "") -> Sequence[Relay]:
        """The relays of a program, to a server, or of all."""
        return [relay for (name, to), relay in self._relays.items() if program in ("", name) and server in ("", to)]

    def settings_of(self, program: str) -> Settings:
        """The settings with which a program reaches the servers through its relays."""
        ports = {server: self._relays[program, server].port for server in SERVERS}
        return self._settings.model_copy(
            update={"kafka_bootstrap": f"127.0.0.1:{ports['kafka']}", "cassandra_port": ports["cassandra"]}
        )

    def kafka(self) -> Service:
        """Kafka with its listeners for programs beside its own."""
        service = kafka(self._settings)

        def prepare() -> None:
            service.prepare()
            more = {
                "listeners": _addresses(self._listeners),
                "advertised.listeners": _addresses({name: self._relays[name, "kafka"].port for name in LINKED}),
                "listener.security.protocol.map": ",".join(f"{name.upper()}:PLAINTEXT" for name in LINKED),
            }
            file = self._settings.var_dir.resolve() / "kafka" / "kafka.properties"
            own = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
            # Of two lines for one name, Java takes the later one.
            with file.open("a") as properties:
                properties.writelines(f"{name}={own[name]},{added}\n" for name, added in more.items())

        return replace(service, prepare=prepare)

    def close(self) -> None:
        """End all connections."""
        self._stack.close()


def _addresses(ports: dict[str, int]) -> str:
    return ",".join(f"{name.upper()}://127.0.0.1:{port}" for name, port in ports.items())
