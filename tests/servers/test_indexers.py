"""One indexer process for many collections, on a real Cassandra: taken up, let go of, and none stops another."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from contract.collections import Collection, collections_dir, settings_of
from contract.record_key import RecordKey
from contract.settings import PREFIX, Settings
from gallery.generations.collection_file import read_collections
from gallery.generations.manifest import CURRENT
from gallery.generations.reader import Reader
from gallery.generations.serving import manifests
from gallery.generations.writer import lock_index
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.verify import verify
from model.encoder import load_encoder
from tests.api_gallery import wait_until
from tests.conftest import fresh_settings

ENCODER = "contrast"


@dataclass
class Feeds:
    """Writes rows as an embedder would, without Kafka."""

    settings: Settings
    store: Store
    ends: dict[str, int] = field(default_factory=dict)

    def create(self, name: str) -> Settings:
        assert self.store.registry.add(name=name, encoder=ENCODER, partitions=2)
        return self.own(name)

    def own(self, name: str) -> Settings:
        return settings_of(self.settings, Collection(name=name, encoder=ENCODER, partitions=2))

    def put(self, name: str, count: int) -> None:
        """`count` images into partition 0; the same ids in every collection."""
        own, encoder = self.own(name), load_encoder(ENCODER)
        log = f"{own.kafka_topic}:log"
        self.store.feed.add_log(topic=own.kafka_topic, log=log)
        start = self.ends.get(name, 0)
        random = np.random.default_rng(len(name) + start)
        rows = [
            FeedRow(
                RecordKey(log, 0, offset),
                offset,
                "put",
                "",
                f"image/{offset}",
                random.normal(size=encoder.dimensions).astype("<f4").tobytes(),
                1_700_000_000_000 + offset,
                metadata="",
            )
            for offset in range(start, start + count)
        ]
        self.store.feed.write(rows, fingerprint=encoder.fingerprint)
        self.ends[name] = start + count

    def count(self, name: str) -> int | None:
        manifest = manifests(self.own(name).index_dir).get(ENCODER)
        return manifest.count if manifest else None

    def wait_count(self, name: str, count: int, timeout_s: float = 10.0) -> None:
        wait_until(lambda: self.count(name) == count, f"{name} has {count} images", timeout_s)

    def check(self, name: str) -> None:
        """The generation is what brute force over the feed gives."""
        snapshot = Reader(self.own(name).encoder_index_dir, None).current()
        assert snapshot is not None
        assert verify(snapshot, self.store.feed).differences == []


@pytest.fixture
def feeds(stack: Settings, tmp_path: Path) -> Iterator[Feeds]:
    settings = fresh_settings(stack, tmp_path, cassandra_keyspace=f"test_{uuid.uuid4().hex[:12]}")
    store = Store.connect(settings)
    yield Feeds(settings, store)
    store.close()


@contextlib.contextmanager
def indexer(settings: Settings, log: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A running indexer, told to end afterwards; it must do so without an error."""
    own = settings.model_dump(include={"cassandra_hosts", "cassandra_port", "cassandra_keyspace"})
    own |= settings.model_dump(include={"kafka_topic", "kafka_partitions", "index_dir", "compiled_dir", "encoder"})
    environment = {**os.environ, **{f"{PREFIX}{name.upper()}": str(value) for name, value in own.items()}}
    with log.open("wb") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "workers", "indexer", *words], env=environment, stdout=told, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            status = process.wait(30)
        assert status == 0, log.read_text()[-3000:]


def lines(log: Path, text: str) -> Callable[[], int]:
    return lambda: log.read_text().count(text)


def test_collections_come_and_go_while_others_are_indexed(feeds: Feeds, tmp_path: Path) -> None:
    log = tmp_path / "indexer.log"
    feeds.create("birds")
    feeds.put("birds", 30)
    feeds.put("default", 5)
    with indexer(feeds.settings, log):
        feeds.wait_count("birds", 30, 30)
        feeds.wait_count("default", 5)
        own = feeds.create("cats")
        feeds.put("cats", 7)
        feeds.wait_count("cats", 7)
        assert set(read_collections(feeds.settings)) == {"birds", "cats"}
        assert feeds.store.registry.mark_dropped("cats")

        def is_free() -> bool:
            held = lock_index(own.encoder_index_dir)
            if held is not None:
                os.close(held)
            return held is not None

        wait_until(is_free, "the indexer has let go of it")
        feeds.put("birds", 10)
        feeds.wait_count("birds", 40)
        assert feeds.count("cats") == 7
    for name in ("birds", "default"):
        feeds.check(name)


def test_one_that_fails_does_not_stop_the_others_and_comes_back(feeds: Feeds, tmp_path: Path) -> None:
    log = tmp_path / "indexer.log"
    for name in ("birds", "cats"):
        feeds.create(name)
        feeds.put(name, 3)
    broken = collections_dir(feeds.settings) / "birds"
    broken.parent.mkdir(parents=True)
    broken.write_text("not a folder")
    assert feeds.store.registry.add(name="strange", encoder="no-such-encoder", partitions=1)
    with indexer(feeds.settings, log):
        feeds.wait_count("cats", 3, 30)
        wait_until(lines(log, "not indexed for now"), "it says which cannot be indexed")
        # Its folder goes while it is written: it is indexed anew.
        (feeds.own("cats").encoder_index_dir / CURRENT).unlink()
        feeds.put("cats", 4)
        feeds.wait_count("cats", 7, 20)
        feeds.put("default", 2)
        feeds.wait_count("default", 2)
    feeds.check("cats")


def test_two_indexers_share_by_names_and_stand_by_for_each_other(feeds: Feeds, tmp_path: Path) -> None:
    for name in ("birds", "cats"):
        feeds.create(name)
        feeds.put(name, 3)
    logs = [tmp_path / "one.log", tmp_path / "all.log"]
    with indexer(feeds.settings, logs[1]) as everything:
        with indexer(feeds.settings, logs[0], "--collections", "birds,later"):
            feeds.wait_count("birds", 3, 30)
            feeds.wait_count("cats", 3, 30)
            wait_until(lambda: any(lines(log, "standing by")() for log in logs), "one stands by for birds")
            feeds.create("later")
            feeds.put("later", 1)
            feeds.wait_count("later", 1)
            assert '"collection": "cats"' not in logs[0].read_text()
            everything.kill()
            everything.wait()
            feeds.put("birds", 1)
            feeds.wait_count("birds", 4)
        everything.returncode = 0
    for name in ("birds", "cats", "later"):
        feeds.check(name)
