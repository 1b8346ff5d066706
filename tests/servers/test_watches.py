"""Watches on a real Kafka and Cassandra: created through the API, told by the watcher, also when it is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from lookalike_client import ApiError, Client, Matched, Watched
from runtime.failpoints import VARIABLE
from stack.jars import ROOT
from stack.programs import environment
from stack.state import read_state
from tests.api_gallery import Gallery, digit, record, running_api
from tests.conftest import fresh_settings
from tests.receiver import Receiver
from tests.waiting import wait_for
from topics import matches
from topics.topic import Topic, ensure_topics

KILLED_AT = (
    "watcher-before-take-up",
    "watcher-after-take-up",
    "watcher-after-publish:2",
    "watcher-after-progress:2",
    "watcher-before-webhooks-noted:20",
)


class Running:
    """A topic, an API over an index of three digits, and a feed that the test writes as an embedder would."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log_file = settings.index_dir.with_name("watcher.log")
        ensure_topics(settings)
        topic = Topic(settings)
        self.log = topic.check()
        topic.close()
        self.store = Store.connect(settings)
        self.store.feed.add_log(topic=settings.kafka_topic, log=self.log)
        self.gallery = Gallery(settings, self.log)
        self.gallery.put({f"digit/{n}": digit(n) for n in range(3)})
        known = [record(n, f"digit/{n}", digit(n)) for n in range(3)]
        self.store.records.write(
            replace(each, key=each.key._replace(log=self.log), original=digit(n)) for n, each in enumerate(known)
        )
        self.client = Client(settings.api_address)
        self.next = 0

    def append(self, embedding: np.ndarray, count: int = 1) -> list[int]:
        """Write rows of partition 0 and return their offsets."""
        offsets = list(range(self.next, self.next + count))
        rows = [
            FeedRow(
                RecordKey(self.log, 0, n),
                n,
                "put",
                "",
                f"new/{n}",
                embedding.astype("<f4").tobytes(),
                1000 + n,
                metadata="",
            )
            for n in offsets
        ]
        self.store.feed.write(rows, fingerprint=self.gallery.encoder.fingerprint)
        self.next += count
        return offsets

    @contextlib.contextmanager
    def watcher(self, failpoint: str = "") -> Iterator["subprocess.Popen[bytes]"]:
        """The watcher, killed at the end."""
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers", "watcher"],
                cwd=ROOT,
                env={**os.environ, **environment(self.settings), VARIABLE: failpoint},
                stdout=log,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            print(self.log_file.read_text())

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Lines of the watcher's log that tell of an event."""
        lines = map(json.loads, self.log_file.read_text().splitlines())
        return [line for line in lines if line["event"] == event]

    def told(self, watch: Watched, count: int) -> list[int]:
        """The offsets that a watch was told of, once there are so many."""

        def ask() -> list[int] | None:
            found = [match.source["offset"] for match in self.client.matches(watch.id, limit=1000)]
            return sorted(found) if len(found) >= count else None

        return wait_for(ask)


@pytest.fixture
def running(stack: Settings, tmp_path: Path) -> Iterator[Running]:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=1, private_addresses=True)
    made = Running(settings)
    with running_api(settings):
        yield made
    made.store.close()


def test_an_image_is_told_to_its_watch_on_the_topic_as_event_and_to_the_webhook(running: Running) -> None:
    client, near = running.client, running.gallery.embeddings["digit/0"]
    with Receiver() as receiver, running.watcher():
        watch = client.watch(digit(0), max_distance=0.5, name="zero ü", webhook=receiver.address)
        by_id = client.watch("digit/1", max_distance=0.0)
        by_embedding = client.watch([float(x) for x in near], max_distance=0.0)
        assert [each.id for each in client.watches()] == [watch.id, by_id.id, by_embedding.id]
        assert [each.secret for each in client.watches()] == [None] * 3
        assert watch.webhook == receiver.address
        assert [each.webhook for each in client.watches()] == [receiver.address.replace("hook?x=1", "***"), None, None]
        seen: list[Matched] = []

        def listen() -> None:
            with contextlib.suppress(ApiError):
                for match in Client(client._address, timeout_s=60).follow_matches(watch_id=watch.id, after=0):
                    seen.append(match)
                    if len(seen) == 3:
                        return

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        offsets = running.append(near, 3)
        running.append(-near)
        assert running.told(watch, 3) == running.told(by_embedding, 3) == offsets
        assert client.matches(by_id.id) == []
        bodies = receiver.wait(3, secret=watch.secret or "")
        assert [body["image"] for body in bodies] == [f"new/{n}" for n in offsets]
        assert [body["verdict"] for body in bodies] == ["same bytes", "similar", "similar"]
        assert {(body["watch"], body["name"], body["collection"]) for body in bodies} == {
            (watch.id, "zero ü", "default")
        }
        listener.join(30)
        assert [match.source["offset"] for match in seen] == offsets
        client.remove_watch(watch.id)
        with pytest.raises(ApiError, match="unknown-watch"):
            client.remove_watch(watch.id)
        assert [each.id for each in client.watches()] == [by_id.id, by_embedding.id]


def test_without_kafka_its_log_says_that_a_collection_waits_and_then_nothing_is_missed(
    stack: Settings, running: Running
) -> None:
    state = read_state(stack, "servers")
    assert state is not None
    kafka = next(process.pid for process in state.processes if process.name == "kafka")
    near = running.gallery.embeddings["digit/0"]
    watch = running.client.watch(digit(0), max_distance=0.5)
    with running.watcher():
        expected = running.append(near, 2)
        assert running.told(watch, 2) == expected
        os.kill(kafka, signal.SIGSTOP)
        try:
            expected += running.append(near, 3)
            (line, *_) = wait_for(lambda: running.lines("collection waits") or None, timeout_s=90)
            assert (line["collection"], line["level"]) == ("default", "warning") and "kafka" in line["detail"]
        finally:
            os.kill(kafka, signal.SIGCONT)
        expected += running.append(near, 1)
        assert running.told(watch, len(expected)) == expected


def test_matches_that_do_not_come_are_not_waited_for_for_ever_and_are_said_to_lack(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Kafka stands still after it has said where they end. Who goes on behind those that came meets none again."""
    source = matches.MatchSource("log", 0, 0, 1)
    came = matches.WatchMatch("m", "w", "", "default", "id", 0.0, source, None, 1)
    monkeypatch.setattr(matches, "_STILL_S_MAX", 0.5)
    with contextlib.closing(matches.NewestMatches(running.settings)) as newest:
        assert newest.read() == ([], 0, True)
        with contextlib.closing(matches.MatchPublisher(running.settings)) as publisher:
            publisher.publish([came])
        monkeypatch.setattr(matches.MatchReader, "end_offset", lambda _: 2)
        assert newest.read() == ([matches.NumberedMatch(0, came)], 1, False)
    with (
        contextlib.closing(matches.MatchReader(running.settings, "test-matches")) as reader,
        pytest.raises(DependencyError, match=r" 0 stopped at 1 of 2: nothing came for 0\.5 s"),
    ):
        list(reader.read_to(2, still_s_max=0.5))


KEPT = 5


@pytest.fixture
def few_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API that starts after this keeps as many matches."""
    monkeypatch.setattr(matches, "NEWEST_MATCHES_MAX", KEPT)


def test_the_api_tells_the_newest_matches_and_kafka_has_the_older_ones(few_kept: None, running: Running) -> None:
    count = KEPT + 7
    watch = running.client.watch(digit(0), max_distance=0.5)
    reader = matches.MatchReader(running.settings, "test-matches")
    try:
        with running.watcher():
            expected = running.append(running.gallery.embeddings["digit/0"], count)
            wait_for(lambda: reader.end_offset() >= count or None)
        found: set[int] = set()
        while len(found) < count:
            behind = reader.read_to(reader.end_offset())
            found |= {each.match.source.offset for each in behind if each.match.watch == watch.id}
        assert sorted(found) == expected

        def told() -> list[int] | None:
            offsets = [
                match.source["offset"] for match in Client(running.settings.api_address).matches(watch.id, limit=1000)
            ]
            return sorted(offsets) if count - 1 in offsets else None

        assert wait_for(told) == expected[-KEPT:]
    finally:
        reader.close()


@pytest.mark.thorough
@pytest.mark.parametrize("failpoint", KILLED_AT)
def test_killed_anywhere_the_watcher_misses_nothing(running: Running, failpoint: str) -> None:
    near = running.gallery.embeddings["digit/0"]
    with Receiver() as receiver:
        running.append(near, 5)  # beyond what Kafka has: it counts
        watch = running.client.watch(digit(0), max_distance=0.5, webhook=receiver.address)
        expected = list(range(5))
        with running.watcher(failpoint) as first:
            expected += running.append(near, 5)
            wait_for(lambda: first.poll() if first.poll() is not None else running.append(near, 1) and None)
            assert first.returncode == -signal.SIGKILL
        expected = list(range(running.next))
        with running.watcher():
            expected += running.append(near, 5)
            assert running.told(watch, len(expected)) == expected
            got = receiver.wait(len(expected), secret=watch.secret or "")
            assert {body["source"]["offset"] for body in got} == set(expected)
