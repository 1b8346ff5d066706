"""Servers and programs of one test's own, each a child that can be killed and started again."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from contract.settings import DIGITS_ENCODER, Settings, load_settings
from stack import programs
from stack.cassandra import cassandra
from stack.kafka import kafka
from stack.ports import free_ports, own_ports
from stack.process import Child, start_child
from stack.service import Service
from tests.conftest import COMPILED_DIR
from tests.links import Links
from tests.waiting import wait_for
from topics.topic import ensure_topics

PROGRAMS = ("embedder", "indexer", "watcher")


class Parts:
    """All parts of a pipeline. Thread-safe.

    Args:
        api_ports: of an API each, named `api-PORT`; those of a machine share its index folder.
        links: through which programs reach the servers; None where they do so directly.
        machines: that embed and answer, with an embedder, an indexer and an index folder each; APIs are spread over them.
    """

    def __init__(
        self, settings: Settings, api_ports: list[int], links: Links | None = None, *, machines: int = 1
    ) -> None:
        self.settings = settings
        self.machines = machines
        self.links = links
        self._lock = threading.RLock()
        self._children: dict[str, Child] = {}
        self._down: set[str] = set()
        self._otherwise: set[str] = set()

        def own(program: str) -> Settings:
            return links.settings_of(program) if links else settings

        numbers = range(1, settings.stack_nodes + 1)
        made = [links.kafka() if links else kafka(settings, number) for number in numbers]
        made += [cassandra(settings, number) for number in numbers]
        self.servers = tuple(service.name for service in made)
        made += [programs.embedder(own("embedder")), programs.indexer(own("indexer")), programs.watcher(own("watcher"))]
        others = [_other_machine(settings, number) for number in range(2, machines + 1)]
        for number, other in enumerate(others, 2):
            made += [_named(make(other), number) for make in (programs.embedder, programs.indexer)]
        self.programs = tuple(service.name for service in made if service.name not in self.servers)
        machines_settings = [own("api"), *others]
        made += [_api(machines_settings[place % machines], port) for place, port in enumerate(api_ports)]
        self.services: dict[str, Service] = {service.name: service for service in made}
        self.apis = tuple(f"api-{port}" for port in api_ports)

    def start(self, *names: str, environment: dict[str, str] | None = None) -> None:
        """Start parts, with further environment variables."""
        with self._lock:
            for name in names:
                (self._otherwise.add if environment else self._otherwise.discard)(name)
                service = self.services[name]
                told = {**service.environment, **(environment or {})}
                self._children[name] = start_child(replace(service, environment=told))

    def start_as_ever(self) -> None:
        """Start again what was started with further environment variables."""
        for name in sorted(self._otherwise):
            with self.down(name):
                self.start(name)
            self.wait_ready(name)

    def wait_ready(self, *names: str) -> None:
        """Wait until parts say that they are."""
        for name in names:
            is_ready = self.services[name].is_ready
            if is_ready is not None:
                wait_for(_asked(is_ready), timeout_s=180)

    def kill(self, name: str) -> None:
        """SIGKILL, and wait for its end."""
        with self._lock:
            child = self._children[name]
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            wait_for(child.exit_code)

    def replace(self, service: Service) -> None:
        """Stop a part as an operator does, and start what takes its place."""
        with self._lock:
            self._children[service.name].stop(service.stop_s)
            self.services[service.name] = service
            self.start(service.name)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a part and to its children, such as those that decode."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._children[name].pid, number)

    @contextlib.contextmanager
    def down(self, name: str) -> Iterator[None]:
        """A part is killed, and nobody starts it again before this is left."""
        self._down.add(name)
        self.kill(name)
        try:
            yield
        finally:
            self._down.remove(name)

    def pid(self, name: str) -> int:
        """Of a part's process."""
        return self._children[name].pid

    def exit_code(self, name: str) -> int | None:
        """None while it runs."""
        return self._children[name].exit_code()

    def restart_what_ended(self) -> list[str]:
        """As a supervisor would; the names of those that had ended."""
        with self._lock:
            children = self._children.items()
            ended = [name for name, child in children if name not in self._down and child.exit_code() is not None]
            for name in ended:
                with contextlib.suppress(OSError):  # such as a full disk; tried again at the next look
                    self.start(name)
            return ended

    def stop(self) -> None:
        """Stop all."""
        with self._lock:
            for name in reversed(list(self._children)):
                self.signal(name, signal.SIGCONT)
                self._children[name].stop(self.services[name].stop_s)
        if self.links:
            self.links.close()


def started(
    folder: Path,
    *,
    apis: int = 2,
    machines: int = 1,
    is_linked: bool = False,
    planted: dict[str, dict[str, str]] | None = None,
    **changes: object,
) -> Parts:
    """Parts that run.

    Args:
        machines: as `Parts` takes it.
        is_linked: whether programs reach the servers through links that can fail.
        planted: further environment variables, by part.
        changes: of settings, by field name.
    """
    settings = load_settings(
        **own_ports(),
        **{
            "cassandra_heap_mib": 512,
            "var_dir": folder / "var",
            "index_dir": folder / "index",
            "compiled_dir": COMPILED_DIR,
            "encoder": DIGITS_ENCODER,
            "rebuild_interval_s": 5,
            **changes,
        },
    )
    parts = Parts(settings, free_ports(apis), Links(settings) if is_linked else None, machines=machines)
    try:
        parts.start(*parts.servers)
        parts.wait_ready(*parts.servers)
        ensure_topics(settings)
        for name in (*parts.programs, *parts.apis):
            parts.start(name, environment=(planted or {}).get(name))
        parts.wait_ready(*parts.apis)
    except BaseException:
        parts.stop()
        raise
    return parts


def _asked(is_ready: Callable[[], bool]) -> Callable[[], bool | None]:
    return lambda: is_ready() or None


def _other_machine(settings: Settings, number: int) -> Settings:
    own = {"host_name": f"machine-{number}", "index_dir": settings.index_dir.with_name(f"index-{number}")}
    return settings.model_copy(update=own)


def _named(service: Service, number: int) -> Service:
    name = f"{service.name}-{number}"
    return replace(service, name=name, log=service.log.with_stem(name))


def _api(settings: Settings, port: int) -> Service:
    made = programs.api(settings.model_copy(update={"api_port": port}))
    return replace(made, name=f"api-{port}", log=made.log.with_stem(f"api-{port}"))
