"""The indexer keeps what was replaced for the hours that are set, and for twice as long at most."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.history import AsOf, HistoryGoneError
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.verify import verify
from model.encoder import load_encoder
from tests.conftest import fresh_settings
from workers.indexer import Indexer

HOUR_S = 3600.0
BEFORE = AsOf(offsets=((0, 3000),))


@pytest.mark.thorough
def test_what_was_replaced_is_dropped_once_it_is_old_although_nothing_new_comes(
    stack: Settings, tmp_path: Path
) -> None:
    settings = fresh_settings(stack, tmp_path, history_hours=1.0, rebuild_interval_s=1.0, encoder="contrast")
    now_s, encoder = [time.time(), 0.0], load_encoder("contrast")
    store = Store.connect(settings)
    log = f"{settings.kafka_topic}:written-by-the-test"
    store.feed.add_log(topic=settings.kafka_topic, log=log)
    vector = np.random.default_rng(1).standard_normal((3001, encoder.dimensions)).astype("<f4")
    rows = [
        FeedRow(RecordKey(log, 0, n), n, "put", "", f"id/{n % 3000}", vector[n].tobytes(), int(now_s[0] * 1000))
        for n in range(3001)
    ]
    store.feed.write(rows, fingerprint=encoder.fingerprint)
    writer = Writer(settings.encoder_index_dir, encoder.fingerprint, encoder.dimensions)
    pool = ThreadPoolExecutor(4)
    indexer = Indexer(
        settings,
        store.feed,
        writer,
        begin_anew=lambda: writer,
        name="default",
        fingerprint=encoder.fingerprint,
        logs_of=store.feed.logs,
        pool=pool,
        may_build=lambda: True,
        clock=lambda: now_s[1],
        wall_clock=lambda: now_s[0],
    )
    reader = Reader(settings.encoder_index_dir, encoder.fingerprint)

    def at(hours: float, bases: int) -> Snapshot:
        """The index so long after the records, once it has had so many bases."""
        now_s[:] = [rows[0].kafka_time_ms / 1000 + hours * HOUR_S, hours * HOUR_S]
        deadline = time.monotonic() + 150  # a base gives way to whatever else the machine does
        while True:
            indexer.step()
            snapshot = reader.current()
            assert snapshot is not None
            seen.add(snapshot.manifest.base.name)
            if len(seen - {""}) == bases and snapshot.manifest.offsets.get("0") == 3001:
                return snapshot
            assert time.monotonic() < deadline, (hours, seen)

    seen: set[str] = set()
    at(0.0, 0)
    merged = at(0.5, 1)
    assert merged.find("id/0", merged.select(BEFORE)) is not None and len(merged.base.replaced.puts) == 1
    kept = at(1.5, 1)
    assert kept.select(BEFORE).count == 3000
    dropped = at(2.5, 2)
    assert len(dropped.base.replaced.puts) == 0 and dropped.count == 3000
    with pytest.raises(HistoryGoneError) as refused:
        dropped.select(BEFORE)
    assert refused.value.offsets == {0: 3001}
    assert verify(dropped, store.feed).differences == []
    pool.shutdown()
    indexer.close()
    store.close()
