"""The indexer is killed at each step of publishing and merging, the API while it swaps: generations stay whole and exact."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.store.rows import FeedRow, Outcome
from gallery.store.store import Store
from gallery.verify import verify
from lookalike_client import ApiError, Client
from model.encoder import load_encoder
from runtime.failpoints import VARIABLE
from stack.jars import ROOT
from stack.programs import environment
from tests.conftest import fresh_settings
from tests.waiting import wait_for

PARTITIONS = 2
INDEXER_STEPS = (
    "indexer-after-append:2",
    "indexer-after-sync",
    "indexer-after-manifest:2",
    "indexer-after-current:2",
    "indexer-before-base",
    "indexer-after-new-tail",
)
# These kill the process that builds, and the indexer builds again.
BUILDER_STEPS = ("base-before-save", "base-after-save")
API_STEPS = ("reader-after-manifest:2", "api-before-swap", "api-after-swap:2")


class Feed:
    """Writes the feed as the embedder would: puts, replacements, deletes and rejects over two partitions.

    Attributes:
        expected: embedding of each image that is to be found, as bytes.
    """

    def __init__(self, settings: Settings, chance: random.Random) -> None:
        self.settings = settings
        self.store = Store.connect(settings)
        self.log = f"{settings.kafka_topic}:written-by-the-test"
        self.store.feed.add_log(topic=settings.kafka_topic, log=self.log)
        self.expected: dict[str, bytes] = {}
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self._chance = chance
        self._encoder = load_encoder(settings.encoder).fingerprint
        self._time_ms = 1_000_000

    def grow(self, count: int) -> None:
        """Append `count` records, each later than those before, so that the last word about an id is the last row."""
        rows = []
        for _ in range(count):
            partition = self._chance.randrange(PARTITIONS)
            offset = self.ends[partition]
            self.ends[partition] += 1
            self._time_ms += 1
            image_id = f"image/{self._chance.randrange(400)}"
            outcome: Outcome = self._chance.choices(("put", "delete", "reject"), (8, 1, 1))[0]
            embedding = None
            if outcome == "put":
                embedding = np.array([self._chance.gauss(0, 1) for _ in range(128)], "<f4").tobytes()
                self.expected[image_id] = embedding
            elif outcome == "delete":
                self.expected.pop(image_id, None)
            reason = "corrupt" if outcome == "reject" else ""
            rows.append(
                FeedRow(
                    RecordKey(self.log, partition, offset), offset, outcome, reason, image_id, embedding, self._time_ms
                )
            )
        self.store.feed.write(rows, fingerprint=self._encoder)

    def check(self) -> None:
        """The index comes to hold exactly what was written, each image once, and the feed agrees."""
        snapshot = wait_for(self._covered)
        held = [(image_id, embedding) for image_id, (_, embedding) in snapshot.contents()]
        assert dict(held) == self.expected
        assert len(held) == snapshot.count == len(self.expected)
        assert verify(snapshot, self.store.feed).differences == []

    def _covered(self) -> Snapshot | None:
        snapshot = Reader(self.settings.encoder_index_dir, fingerprint=None).current()
        if snapshot is None:
            return None
        ends = {str(partition): end for partition, end in self.ends.items()}
        return snapshot if ends.items() <= snapshot.manifest.offsets.items() else None


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    """A base every half second or 30 entries."""
    return fresh_settings(
        stack,
        tmp_path,
        kafka_partitions=PARTITIONS,
        rebuild_interval_s=0.5,
        rebuild_tail_images=30,
        cassandra_keyspace=f"{stack.cassandra_keyspace}_index",
    )


@pytest.fixture
def feed(settings: Settings, chance: random.Random) -> Iterator[Feed]:
    feed = Feed(settings, chance)
    yield feed
    feed.store.close()


@contextlib.contextmanager
def running(
    settings: Settings, folder: Path, *command: str, failpoints: str = ""
) -> Iterator["subprocess.Popen[bytes]"]:
    """A program of ours as a child; its output is shown when the test fails."""
    output = folder / f"{command[1]}-{time.monotonic_ns()}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, **environment(settings), VARIABLE: failpoints},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    except BaseException:
        print(output.read_text()[-6000:])
        raise
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()


def killed(process: "subprocess.Popen[bytes]", feed: Feed) -> bool | None:
    """Give it something to do until it dies at its failpoint."""
    feed.grow(15)
    try:
        assert process.wait(0.3) == -signal.SIGKILL
    except subprocess.TimeoutExpired:
        return None
    return True


@pytest.mark.timeout(300)
def test_indexer_killed_at_every_step_goes_on_with_exactly_what_the_feed_says(
    settings: Settings, feed: Feed, tmp_path: Path
) -> None:
    with running(settings, tmp_path, "workers", "indexer"):
        feed.grow(200)
        feed.check()
    for step in INDEXER_STEPS:
        with running(settings, tmp_path, "workers", "indexer", failpoints=step) as process:
            wait_for(lambda process=process: killed(process, feed))  # type: ignore[misc]
    with running(settings, tmp_path, "workers", "indexer"):
        feed.check()


@pytest.mark.thorough
@pytest.mark.timeout(300)
@pytest.mark.parametrize("step", BUILDER_STEPS)
def test_builder_that_dies_costs_nothing_but_its_work(
    settings: Settings, feed: Feed, tmp_path: Path, step: str
) -> None:
    with running(settings, tmp_path, "workers", "indexer", failpoints=step) as process:

        def failed_to_build() -> bool | None:
            feed.grow(20)
            assert process.poll() is None
            return "base not built" in "".join(path.read_text() for path in tmp_path.glob("indexer-*.log")) or None

        wait_for(failed_to_build, timeout_s=150)
        feed.check()
    with running(settings, tmp_path, "workers", "indexer"):
        wait_for(lambda: any_base(settings) or None, timeout_s=100)
        feed.check()


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_indexer_killed_while_it_deletes_old_generations_goes_on(
    settings: Settings, feed: Feed, tmp_path: Path
) -> None:
    with running(settings, tmp_path, "workers", "indexer", failpoints="indexer-while-pruning:3") as process:
        wait_for(lambda: killed(process, feed), timeout_s=150)
    with running(settings, tmp_path, "workers", "indexer"):
        feed.check()


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_api_killed_while_it_swaps_answers_from_the_newest_generation_when_it_is_back(
    settings: Settings, feed: Feed, tmp_path: Path
) -> None:
    with running(settings, tmp_path, "workers", "indexer"):
        feed.grow(100)
        for step in API_STEPS:
            with running(settings, tmp_path, "api", "serve", failpoints=step) as process:
                wait_for(lambda process=process: killed(process, feed), timeout_s=90)  # type: ignore[misc]
        with running(settings, tmp_path, "api", "serve"):
            feed.check()
            client = Client(settings.api_address)
            ends = {str(partition): end for partition, end in feed.ends.items()}
            wait_for(lambda: ends.items() <= offsets(client).items() or None)
            image_id, embedding = next(iter(feed.expected.items()))
            answer = client.search_embedding(np.frombuffer(embedding, "<f4").tolist(), k=1)
            assert [(match.id, match.distance) for match in answer.matches] == [(image_id, 0.0)]
            assert client.index()["coverage"]["count"] == len(feed.expected)


def offsets(client: Client) -> dict[str, int]:
    """What the API covers; nothing while it is not there yet."""
    try:
        return dict(client.index()["coverage"]["offsets"])
    except ApiError:
        return {}


def any_base(settings: Settings) -> bool:
    snapshot = Reader(settings.encoder_index_dir, fingerprint=None).current()
    return snapshot is not None and bool(snapshot.manifest.base.name)
