"""Everything ends in order while Cassandra does not answer, and comes back complete when it was killed at once."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

import pytest

from contract.errors import DependencyError
from contract.settings import Settings, load_settings
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.store.store import Store
from gallery.verify import verify
from lookalike_client import ApiError, Client
from model import mnist
from stack import programs
from stack.cassandra import cassandra
from stack.kafka import kafka
from stack.ports import own_ports
from stack.process import Child, start_child
from stack.service import Service
from tests.conftest import COMPILED_DIR
from tests.waiting import wait_for
from topics.publisher import Confirmation, ImagePublisher
from topics.topic import ensure_topics

DIGITS = mnist.images("test")


class Pipeline:
    """Servers and programs of the test's own, each a child that is started again when it ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.services: dict[str, Service] = {
            service.name: service
            for service in (
                kafka(settings),
                cassandra(settings),
                programs.embedder(settings),
                programs.indexer(settings),
                programs.api(settings),
            )
        }
        self.children: dict[str, Child] = {}
        self.client = Client(settings.api_address)

    def start(self, name: str) -> None:
        self.children[name] = start_child(self.services[name])

    def wait_ready(self, *names: str) -> None:
        for name in names:
            is_ready = self.services[name].is_ready
            if is_ready is not None:
                wait_for(lambda is_ready=is_ready: is_ready() or None, timeout_s=120)  # type: ignore[misc]

    def signal(self, name: str, number: int) -> None:
        os.kill(self.children[name].pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        wait_for(lambda: self.children[name].exit_code())

    def restart_what_ended(self) -> None:
        """As a supervisor would: a dependency that vanished in the middle of a start may end a program."""
        for name, child in self.children.items():
            if child.exit_code() is not None:
                self.start(name)

    def stop(self) -> None:
        for name in self.children:
            with contextlib.suppress(ProcessLookupError):
                self.signal(name, signal.SIGCONT)
        for name in reversed(list(self.children)):
            self.children[name].stop(self.services[name].stop_s)

    def check(self, confirmed: dict[str, Confirmation]) -> None:
        """Every confirmed image is in the index, none is in it twice, and the feed agrees."""
        ends: dict[str, int] = {}
        for record in confirmed.values():
            ends[str(record.partition)] = max(ends.get(str(record.partition), 0), record.offset + 1)
        snapshot = wait_for(lambda: self._covering(ends), timeout_s=120)
        held = [image_id for image_id, _ in snapshot.contents()]
        assert len(held) == len(set(held)) == snapshot.count
        assert confirmed.keys() <= set(held)
        store = wait_for(self._store)
        try:
            assert verify(snapshot, store.feed).differences == []
        finally:
            store.close()

    def _covering(self, ends: dict[str, int]) -> Snapshot | None:
        self.restart_what_ended()
        snapshot = Reader(self.settings.encoder_index_dir, fingerprint=None).current()
        return snapshot if snapshot and ends.items() <= _reached(snapshot, ends).items() else None

    def _store(self) -> Store | None:
        try:
            return Store.connect(self.settings)
        except DependencyError:
            return None


def _reached(snapshot: Snapshot, ends: dict[str, int]) -> dict[str, int]:
    """The covered offsets, those beyond what is asked for cut down to it."""
    return {p: min(offset, ends.get(p, offset)) for p, offset in snapshot.manifest.offsets.items()}


class Load:
    """Publishes about 100 digits a second and searches all the time, until it is left.

    Attributes:
        confirmed: what Kafka confirmed, by id.
    """

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self.confirmed: dict[str, Confirmation] = {}
        self.searches = 0
        self._pipeline = pipeline
        self._name = name
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._publish, self._search)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_confirmed(self, more: int) -> None:
        wanted = len(self.confirmed) + more
        wait_for(lambda: len(self.confirmed) >= wanted or None, timeout_s=120)

    def _publish(self) -> None:
        publisher = ImagePublisher(self._pipeline.settings, delivery_timeout_s=60.0)
        for n in range(100_000):
            if self._stop.wait(0.01):
                break
            try:
                publisher.put(mnist.png(DIGITS[n % 10_000]), image_id=f"{self._name}/{n}").add_done_callback(self._note)
            except DependencyError:
                continue  # refused, so not confirmed
        publisher.close(timeout_s=20.0)

    def _note(self, future: "Future[Confirmation]") -> None:
        if future.exception() is None:
            self.confirmed[future.result().image_id] = future.result()

    def _search(self) -> None:
        while not self._stop.wait(0.05):
            self.searches += 1
            try:
                self._pipeline.client.search(mnist.png(DIGITS[self.searches % 10_000]), k=3)
            except ApiError:
                continue  # it is killed too


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    """A whole pipeline that runs, with some images in the index."""
    settings = load_settings(
        **own_ports(),
        cassandra_heap_mib=512,
        var_dir=tmp_path / "var",
        index_dir=tmp_path / "index",
        compiled_dir=COMPILED_DIR,
        rebuild_interval_s=3,
    )
    pipeline = Pipeline(settings)
    try:
        for name in ("kafka", "cassandra"):
            pipeline.start(name)
        pipeline.wait_ready("kafka", "cassandra")
        ensure_topics(settings)
        for name in ("embedder", "indexer", "api"):
            pipeline.start(name)
        pipeline.wait_ready("api")
        yield pipeline
    finally:
        pipeline.stop()


@pytest.mark.thorough
@pytest.mark.timeout(420)
def test_everything_ends_in_order_while_cassandra_does_not_answer(pipeline: Pipeline) -> None:
    with Load(pipeline, "load") as load:
        load.wait_confirmed(100)
        pipeline.signal("cassandra", signal.SIGSTOP)
        load.wait_confirmed(100)
        for name in ("embedder", "indexer", "api"):
            began = time.monotonic()
            pipeline.signal(name, signal.SIGTERM)
            assert wait_for(lambda name=name: _ended(pipeline.children[name]), timeout_s=30) == "status 0"  # type: ignore[misc]
            print(f"{name} ended after {time.monotonic() - began:.1f} s")
        pipeline.signal("cassandra", signal.SIGCONT)
    for name in ("api", "embedder", "indexer"):
        pipeline.start(name)
    pipeline.check(load.confirmed)


@pytest.mark.thorough
@pytest.mark.timeout(420)
def test_everything_ends_in_order_when_both_servers_are_gone(pipeline: Pipeline) -> None:
    with Load(pipeline, "load") as load:
        load.wait_confirmed(100)
        for name in ("cassandra", "kafka"):
            pipeline.kill(name)
        for name in ("embedder", "indexer", "api"):
            pipeline.signal(name, signal.SIGTERM)
            assert wait_for(lambda name=name: _ended(pipeline.children[name]), timeout_s=30) == "status 0"  # type: ignore[misc]


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_everything_killed_at_once_and_started_in_any_order_comes_back_complete(
    pipeline: Pipeline, chance: random.Random
) -> None:
    confirmed: dict[str, Confirmation] = {}
    for n in range(3):
        with Load(pipeline, f"round/{n}") as load:
            load.wait_confirmed(150)
            for name in pipeline.children:
                pipeline.signal(name, signal.SIGKILL)
            order = chance.sample(list(pipeline.services), len(pipeline.services))
            for name in order:
                wait_for(lambda name=name: pipeline.children[name].exit_code())  # type: ignore[misc]
                pipeline.start(name)
            print(f"started again: {', '.join(order)}")
            pipeline.wait_ready("kafka", "cassandra", "api")
        confirmed |= load.confirmed
        pipeline.check(confirmed)


def _ended(child: Child) -> str | None:
    code = child.exit_code()
    return None if code is None else f"status {code}"
