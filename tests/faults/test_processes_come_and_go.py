"""Embedders join, leave, die and freeze under load, and a second indexer takes over: one feed row a record, none missing."""

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.store.store import Store
from gallery.verify import verify
from stack.jars import ROOT
from stack.programs import environment
from tests.conftest import fresh_settings
from tests.embedding import Embedder, Sent, eventually, feed_of, make_topics, picture, publish, wait_for_feed
from tests.kafka_topic import read_topic

PARTITIONS = 6
SLOTS = 3
SESSION_S = 10


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    return fresh_settings(stack, tmp_path, kafka_partitions=PARTITIONS, batch_images_max=32)


class Publishing:
    """Publishes small batches to all partitions, every seventh record a bad one, until it is left; `sent` holds all."""

    def __init__(self, settings: Settings) -> None:
        self.sent: list[Sent] = []
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self) -> "Publishing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _publish(self) -> None:
        while not self._stop.wait(0.2):
            first = len(self.sent)
            batch = [
                Sent(f"n/{n}".encode(), b"not an image" if n % 7 == 0 else picture(n), partition=n % PARTITIONS)
                for n in range(first, first + 12)
            ]
            self.sent += publish(self._settings, batch)


def check(settings: Settings, store: Store, log: str, sent: list[Sent]) -> None:
    """Each record has one feed row with the right outcome, and exactly the bad ones stand in the rejected topic."""
    rows = wait_for_feed(store, settings, log, sent, timeout_s=120)
    assert set(rows) == {(record.partition, record.offset) for record in sent}
    bad = {(record.partition, record.offset) for record in sent if record.value == b"not an image"}
    assert {place for place, row in rows.items() if row.outcome == "reject"} == bad
    assert all(row.after == row.key.offset for row in rows.values())
    told = set()
    for message in read_topic(settings, settings.rejected_topic):
        headers = dict(message.headers)
        told.add((int(headers["lookalike-partition"]), int(headers["lookalike-offset"])))
    assert told == bad


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(2, marks=[pytest.mark.thorough, pytest.mark.timeout(240)]),
        pytest.param(20, marks=[pytest.mark.thorough, pytest.mark.timeout(600)]),
    ],
)
def test_embedders_join_and_leave_under_load_and_each_record_has_one_row(
    settings: Settings, store: Store, tmp_path: Path, chance: random.Random, changes: int
) -> None:
    log = make_topics(settings)
    running = {slot: Embedder(settings, tmp_path, slot=slot) for slot in range(SLOTS)}
    try:
        with Publishing(settings) as publishing:
            eventually("the first are embedded", lambda: feed_of(store, settings, log, 0), 90)
            for _ in range(changes):
                slot = chance.randrange(SLOTS)
                if slot in running:
                    number = chance.choice((signal.SIGTERM, signal.SIGKILL))
                    print(f"slot {slot} gets {number.name}")
                    # One that has just been started may not have come to its own handler yet.
                    assert running.pop(slot).stop(number) in ((0, -number) if number == signal.SIGTERM else (-number,))
                else:
                    print(f"slot {slot} joins")
                    running[slot] = Embedder(settings, tmp_path, slot=slot)
                if not running:
                    running[slot] = Embedder(settings, tmp_path, slot=slot)
                before = len(publishing.sent)
                eventually("more is published meanwhile", lambda before=before: len(publishing.sent) > before + 24)  # type: ignore[misc]
        assert all(embedder.process.poll() is None for embedder in running.values()), "none ended by itself"
        check(settings, store, log, publishing.sent)
    finally:
        for slot, embedder in running.items():
            embedder.stop()
            print(f"slot {slot}: ...{embedder.text()[-1500:]}")


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_one_frozen_past_its_session_changes_nothing_when_it_wakes(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    log = make_topics(settings)
    running = [Embedder(settings, tmp_path, slot=slot) for slot in range(SLOTS)]
    try:
        with Publishing(settings) as publishing:
            eventually("all three work", lambda: all("batch" in embedder.text() for embedder in running), 90)
            running[0].process.send_signal(signal.SIGSTOP)
            time.sleep(SESSION_S + 3)  # the fault itself: past its session
            sent = list(publishing.sent)
            before = wait_for_feed(store, settings, log, sent, timeout_s=60)
            running[0].process.send_signal(signal.SIGCONT)
            count = len(publishing.sent)
            eventually("more came", lambda: len(publishing.sent) > count + 60)
        check(settings, store, log, publishing.sent)
        after = wait_for_feed(store, settings, log, sent)
        # embedded_at is informational; everything that the gallery is made of stays as it was.
        assert {p: after[p].__class__(**{**vars(after[p]), "embedded_at_ms": 0}) for p in before} == {
            p: row.__class__(**{**vars(row), "embedded_at_ms": 0}) for p, row in before.items()
        }
    finally:
        for embedder in running:
            embedder.process.send_signal(signal.SIGCONT)
            embedder.stop()


@pytest.mark.timeout(240)
def test_a_second_indexer_stands_by_and_takes_over(settings: Settings, store: Store, tmp_path: Path) -> None:
    log = make_topics(settings)
    embedder = Embedder(settings, tmp_path)
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    indexers = []
    try:
        for number, file in enumerate(logs):
            with file.open("wb") as output:
                indexers.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "workers", "indexer"],
                        cwd=ROOT,
                        env={**environment(settings), "PATH": "/usr/bin:/bin"},
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )
            told = ("indexing", "standing by")[number]
            eventually(told, lambda file=file, told=told: told in file.read_text())  # type: ignore[misc]
        sent = publish(settings, [Sent(f"a/{n}".encode(), picture(n), partition=n % PARTITIONS) for n in range(60)])
        eventually("the first indexes", lambda: covered(settings, sent))
        indexers[0].kill()
        began = time.monotonic()
        sent += publish(settings, [Sent(f"b/{n}".encode(), picture(n), partition=n % PARTITIONS) for n in range(60)])
        eventually("the second goes on", lambda: covered(settings, sent))
        print(f"taken over after {time.monotonic() - began:.1f} s")
        assert '"indexing"' in logs[1].read_text()
        snapshot = Reader(settings.encoder_index_dir, fingerprint=None).current()
        assert snapshot is not None
        assert verify(snapshot, store.feed).differences == []
        assert sorted(image_id for image_id, _ in snapshot.contents()) == sorted(
            record.key.decode() for record in sent if record.key
        )
        check(settings, store, log, sent)
    finally:
        embedder.stop()
        for indexer in indexers:
            indexer.kill()
            indexer.wait()


def covered(settings: Settings, sent: list[Sent]) -> bool:
    snapshot = Reader(settings.encoder_index_dir, fingerprint=None).current()
    if snapshot is None:
        return False
    return all(snapshot.manifest.offsets.get(str(record.partition), 0) > record.offset for record in sent)
