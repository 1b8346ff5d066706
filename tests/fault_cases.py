"""The faults that are put between the parts of a pipeline, each by its name: what it does, to which link or process, and for how long."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pytest

from tests.clock import Clock, libfaketime
from tests.driving import Driver
from tests.history.journal import CLOCK_SET
from tests.links import SERVERS
from tests.relay import ANSWERS, REQUESTS, Relay, Weather
from topics.clients import open_admin

Fault = Callable[[Driver], AbstractContextManager[None]]
_RESET_INTERVAL_S = 0.3
HOUR_S = 3600
_CLOCK_STEP_S = 2.5


@dataclass(frozen=True)
class FaultCase:
    """A fault.

    Attributes:
        name: of the case.
        says: what happens, for people.
        fault: begins when it is entered, and ends when it is left; nothing else is done to heal it.
        lasts_s: how long it goes on.
        runs: how often it is run, each time at another moment; once where healing takes long.
    """

    name: str
    says: str
    fault: Fault
    lasts_s: float = 4.0
    runs: int = 3


def weather(weather: Weather, *, program: str = "", server: str = "") -> Fault:
    """Links of a program, or to a server, have this weather."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        with _mended(_links(driver, program, server)) as links:
            for link in links:
                link.weather = weather
            yield

    return fault


def cut(server: str) -> Fault:
    """All connections are reset, and new ones refused."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        with _mended(_links(driver, "", server)) as links:
            for link in links:
                link.cut()
            yield

    return fault


def orphaned(server: str) -> Fault:
    """The server lost all connections, and the programs are not told: what they send is never answered, even after the fault."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        with _mended(_links(driver, "", server)) as links:
            for link in links:
                link.orphan()
            yield

    return fault


def resets(server: str) -> Fault:
    """All connections are reset again and again."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        links, ended = _links(driver, "", server), threading.Event()

        def reset() -> None:
            while not ended.wait(_RESET_INTERVAL_S):
                for link in links:
                    link.reset()

        thread = threading.Thread(target=reset)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    return fault


def frozen(part: str) -> Fault:
    """A process and its children stand still; of the two APIs one."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        name = driver.parts.apis[0] if part == "api" else part
        driver.note_fault(part, "frozen")
        driver.parts.signal(name, signal.SIGSTOP)
        try:
            yield
        finally:
            driver.parts.signal(name, signal.SIGCONT)

    return fault


def away(part: str) -> Fault:
    """A process is killed, and started again only after the fault."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        driver.note_fault(part)
        with driver.parts.down(part):
            yield

    return fault


def disk_full(part: str, folder: str) -> Fault:
    """The file system of a part's folder is full; it is one of its own, so that nothing else is."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        driver.note_fault(part, "disk full")
        ballast = driver.folder / folder / "ballast"
        if not os.path.ismount(ballast.parent):
            pytest.skip(f"NOT TESTED: {ballast.parent} has no file system of its own; only root may mount one.")
        with ballast.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        assert os.statvfs(ballast.parent).f_bavail < 256, "it is not full"
        try:
            yield
        finally:
            ballast.unlink()

    return fault


def clock_set(part: str) -> Fault:
    """A part is started again under a clock that goes an hour ahead, then an hour back, and then right again; of the APIs one."""

    @contextlib.contextmanager
    def fault(driver: Driver) -> Iterator[None]:
        library = libfaketime()
        if library is None:
            pytest.skip("NOT TESTED: clocks that are set want libfaketime, which Debian and Ubuntu have.")
        name = driver.parts.apis[0] if part == "api" else part
        clock = Clock(driver.folder / f"clock-of-{part}", library, is_of_java=part == "kafka")
        driver.note_fault(part, CLOCK_SET)
        with driver.parts.down(name):
            driver.parts.start(name, environment=clock.environment)
        driver.parts.wait_ready(name)
        for step_s in (HOUR_S, -HOUR_S):
            clock.set(step_s)
            time.sleep(_CLOCK_STEP_S)
        yield
        clock.set(0)

    return fault


@contextlib.contextmanager
def more_partitions(driver: Driver) -> Iterator[None]:
    """The topic gets one more partition, while it is written and read."""
    admin = open_admin(driver.settings)
    try:
        (topic,) = admin.describe_topics([driver.settings.kafka_topic])
        admin.create_partitions({driver.settings.kafka_topic: len(topic["partitions"]) + 1})
    finally:
        admin.close()
    yield


@contextlib.contextmanager
def assigned_without_cassandra(driver: Driver) -> Iterator[None]:
    """Partitions are given out anew while Cassandra, which knows where they start, stands still."""
    with frozen("cassandra")(driver), more_partitions(driver):
        yield


def _links(driver: Driver, program: str, server: str) -> list[Relay]:
    assert driver.parts.links is not None
    for each in SERVERS if not server else (server,):
        driver.note_fault(each, "link")
    return list(driver.parts.links.of(program=program, server=server))


@contextlib.contextmanager
def _mended(links: list[Relay]) -> Iterator[list[Relay]]:
    try:
        yield links
    finally:
        for link in links:
            link.mend()


def _of_links(server: str) -> list[FaultCase]:
    all_of_it = f"All links to {server.capitalize()}"
    return [
        FaultCase(f"{server}-slow", f"{all_of_it} are 50 ms long each way and pass 256 kB/s.",
                  weather(Weather(delay_s=0.05, bytes_per_s=256_000), server=server)),
        FaultCase(f"{server}-cut", f"{all_of_it} are reset and refused.", cut(server)),
        FaultCase(f"{server}-resets", f"{all_of_it} are reset every 0.3 s.", resets(server)),
        FaultCase(f"{server}-half-open", f"{all_of_it} are lost by the server alone: clients wait for ever.",
                  orphaned(server), runs=1),
        FaultCase(f"{server}-requests-lost", f"{all_of_it} pass nothing on to the server.",
                  weather(Weather(held=frozenset({REQUESTS})), server=server)),
        FaultCase(f"{server}-answers-lost", f"{all_of_it} pass nothing back to the programs.",
                  weather(Weather(held=frozenset({ANSWERS})), server=server)),
        FaultCase(f"{server}-frozen", f"{server.capitalize()}'s process is stopped (SIGSTOP).", frozen(server), 8.0),
    ]  # fmt: skip


_BOTH = Weather(held=frozenset({REQUESTS, ANSWERS}))
CASES = [
    *_of_links("kafka"),
    *_of_links("cassandra"),
    FaultCase("embedder-alone", "Nothing passes between the embedder and the servers.", weather(_BOTH, program="embedder")),
    FaultCase("indexer-alone", "Nothing passes between the indexer and the servers.", weather(_BOTH, program="indexer")),
    FaultCase("watcher-alone", "Nothing passes between the watcher and the servers.", weather(_BOTH, program="watcher")),
    FaultCase("api-alone", "Nothing passes between the APIs and the servers.", weather(_BOTH, program="api")),
    *(FaultCase(f"{part}-frozen", f"The {part}'s process and its children are stopped (SIGSTOP).", frozen(part))
      for part in ("embedder", "indexer", "watcher")),
    FaultCase("api-frozen", "One of the two APIs is stopped (SIGSTOP).", frozen("api")),
    FaultCase("index-disk-full", "The file system of the index folder is full.", disk_full("indexer", "index"), runs=1),
    FaultCase("kafka-disk-full", "The file system of Kafka's data is full.", disk_full("kafka", "var/kafka"), runs=1),
    FaultCase("cassandra-disk-full", "The file system of Cassandra's data is full.", disk_full("cassandra", "var/cassandra"), runs=1),
    FaultCase("more-partitions", "The topic gets one more partition.", more_partitions),
    FaultCase("assigned-without-cassandra", "The topic gets one more partition while Cassandra is stopped (SIGSTOP) for 40 s.",
              assigned_without_cassandra, 40.0, runs=1),
    *(FaultCase(f"clock-of-{part}", f"The clock of {whose} is set an hour ahead, an hour back, and right again.", clock_set(part), 0.5, runs=1)
      for part, whose in (("embedder", "the embedder"), ("indexer", "the indexer"), ("watcher", "the watcher"),
                          ("api", "one of the two APIs"), ("kafka", "Kafka"))),
]  # fmt: skip
AWAY_S = 120.0
AWAY = [
    FaultCase(
        f"{part}-away", f"{part.capitalize()} is killed and stays away for two minutes.", away(part), AWAY_S, runs=1
    )
    for part in ("kafka", "cassandra", "embedder", "indexer")
]
