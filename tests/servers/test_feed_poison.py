"""Rows that somebody damaged in the store itself: none stops indexer, API, verify or promote; the next record is searched."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from cassandra.cluster import Session

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.promote import compare_indexes
from gallery.store.feed import FEED_BUCKET_BITS
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.verify import verify
from model.encoder import load_encoder
from tests.api_gallery import running_api
from tests.waiting import wait_for
from workers.embedder.restore import _missing

GOOD = np.arange(128, dtype=">f4").tobytes()
NAN = np.full(128, np.nan, ">f4").tobytes()
TIME = 1_700_000_000_000
SURROGATE = b"\xed\xa0\x80"  # no UTF-8, though Cassandra takes it for text

# What stands in the columns after, outcome, reason, image_id, embedding, kafka_time, and the reason for setting it aside.
POISON: list[tuple[str, tuple[Any, ...]]] = [
    ("embedding-not-finite", (None, "put", "", "poisoned", NAN, TIME)),
    ("embedding-length", (None, "put", "", "poisoned", GOOD[:-1], TIME)),
    ("embedding-length", (None, "put", "", "poisoned", b"\x00", TIME)),
    ("embedding-length", (None, "put", "", "poisoned", GOOD * 2, TIME)),
    ("no-embedding", (None, "put", "", "poisoned", None, TIME)),
    ("unknown-outcome", (None, "putt", "", "poisoned", GOOD, TIME)),
    ("unknown-outcome", (None, None, None, None, None, TIME)),
    ("no-time", (None, None, None, None, None, None)),
    ("no-time", (None, "put", "", "poisoned", GOOD, None)),
    ("no-reason", (None, "reject", None, "poisoned", None, TIME)),
    ("bad-id", (None, "put", None, None, GOOD, TIME)),
    ("bad-id", (None, "put", "", "a\x00b", GOOD, TIME)),
    ("bad-id", (None, "put", "", "x" * 70_000, GOOD, TIME)),
    ("bad-id", (10**12, "delete", "", "", None, TIME)),
    ("embedding-not-finite", (-5, "put", "", "only poisoned", NAN, TIME)),
]


class Road:
    """A feed of one partition, written by hand, and the indexer as a process over it."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings, self.store = settings, store
        self.encoder = load_encoder(settings.encoder).fingerprint
        self.log = f"{settings.kafka_topic}:{uuid.uuid4().hex[:8]}"
        store.feed.add_log(topic=settings.kafka_topic, log=self.log)
        self.offset = 0

    def plant(self, after: Any, outcome: Any, reason: Any, image_id: Any, embedding: Any, ms: Any) -> None:
        session: Session = self.store._session._driver
        session.execute(
            "INSERT INTO feed (log, encoder, kpart, bucket, koffset, after, outcome, reason, image_id, embedding, kafka_time) "
            "VALUES (%s, %s, 0, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                self.log, self.encoder, self.offset >> FEED_BUCKET_BITS, self.offset, after, outcome, reason, image_id,
                embedding, ms,
            ),
        )  # fmt: skip
        self.offset += 1

    def plant_no_text(self) -> None:
        """A row whose id is not UTF-8."""
        statement = self.store._session._driver.prepare(
            "INSERT INTO feed (log, encoder, kpart, bucket, koffset, after, outcome, reason, image_id, embedding, kafka_time) "
            "VALUES (?, ?, 0, 0, ?, ?, 'put', '', ?, ?, ?)"
        )
        bound = statement.bind((self.log, self.encoder, self.offset, self.offset, "x", GOOD, TIME))
        bound.values[4] = SURROGATE
        self.store._session._driver.execute(bound)
        self.offset += 1

    def put(self, image_id: str, scale: float = 1.0) -> None:
        blob = (np.arange(128) * scale).astype("<f4").tobytes()
        row = FeedRow(RecordKey(self.log, 0, self.offset), self.offset, "put", "", image_id, blob, TIME)
        self.store.feed.write([row], fingerprint=self.encoder)
        self.offset += 1


@pytest.fixture
def indexer(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The real program; it must be the same process at the end."""
    changes = {
        f"LOOKALIKE_{name.upper()}": str(getattr(settings, name))
        for name in (
            "kafka_bootstrap",
            "kafka_topic",
            "cassandra_port",
            "cassandra_keyspace",
            "index_dir",
            "compiled_dir",
        )
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "workers", "indexer"],
        env={**os.environ, **changes, "LOOKALIKE_INDEXER_METRICS_PORT": "0"},
    )
    yield process
    assert process.poll() is None, "the indexer ended"
    process.terminate()
    process.wait(20)


def test_poisoned_rows_are_set_aside_and_the_next_record_is_searched(
    settings: Settings, store: Store, indexer: subprocess.Popen[bytes]
) -> None:
    feed = Road(settings, store)
    feed.put("poisoned", 2.0)
    for _, columns in POISON:
        feed.plant(*columns)
        feed.put(f"behind/{feed.offset}", feed.offset)
    feed.plant_no_text()
    feed.put("behind all")
    reader = Reader(settings.encoder_index_dir, feed.encoder)

    def covered() -> bool:
        snapshot = reader.current()
        return snapshot is not None and snapshot.manifest.offsets.get("0") == feed.offset

    wait_for(lambda: covered() or None, 60)
    snapshot = reader.current()
    assert snapshot is not None
    counts: dict[str, int] = {}
    for reason, _ in POISON:
        counts[reason] = counts.get(reason, 0) + 1
    counts["bad-id"] += 1
    assert snapshot.manifest.set_aside == counts
    assert snapshot.count == 2 + len(POISON)
    verified = verify(snapshot, store.feed)
    assert verified.differences == [] and len(verified.set_aside) == len(POISON) + 1
    assert compare_indexes(snapshot, snapshot, store.feed).differences == []
    assert sum(1 for _ in _missing(store.feed, feed.log, 0, [], fingerprint="another", others={feed.encoder})) == 0, (
        "none is handed on"
    )
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        body = client.post("/v1/search?k=1", json={"embedding": (np.arange(128) * 30.0).tolist()}).json()
        assert body["matches"][0]["id"] == "behind/30"
        assert body["coverage"]["set_aside"] == len(POISON) + 1
        shown = client.get("/v1/images", params={"id": "poisoned"}).json()
        assert shown["source"]["offset"] == 0
        assert shown["newest_not_shown"] == {"log": feed.log, "partition": 0, "offset": 17, "reason": "no-time"}
        missing = client.get("/v1/images", params={"id": "only poisoned"})
        assert missing.status_code == 404 and "embedding-not-finite" in missing.json()["detail"]
        for offset in range(feed.offset):
            at = f"{feed.log}:0:{offset}"
            assert client.get("/v1/images/timeline", params={"id": "poisoned", "at": at}).status_code in (200, 404)
        feed.put("only poisoned", 99.0)
        wait_for(lambda: covered() or None, 30)
        wait_for(lambda: client.get("/v1/images", params={"id": "only poisoned"}).status_code == 200 or None, 30)
        assert client.get("/v1/images", params={"id": "only poisoned"}).json()["newest_not_shown"] is None


def test_feed_walk_and_details_read_past_damaged_rows(settings: Settings, store: Store) -> None:
    feed = Road(settings, store)
    feed.put("a")
    for _, columns in POISON:
        feed.plant(*columns)
    feed.put("b")
    start = RecordKey(feed.log, 0, 0)
    assert store.feed.next_offset(start, fingerprint=feed.encoder) == feed.offset
    assert len(store.feed.read(start, 100, fingerprint=feed.encoder)) == feed.offset


def test_id_that_is_no_text_is_read_and_leaves_its_neighbours_readable(settings: Settings, store: Store) -> None:
    feed = Road(settings, store)
    feed.put("a")
    feed.plant_no_text()
    feed.put("b")
    rows = store.feed.read(RecordKey(feed.log, 0, 0), 10, fingerprint=feed.encoder)
    assert [row.image_id for row in rows] == ["a", "\udced\udca0\udc80", "b"]
