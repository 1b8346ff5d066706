"""What a tail takes in memory: arrays, and little beside them while it is read."""

import tracemalloc
from pathlib import Path

import numpy as np

from contract.record_key import RecordKey
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow

ENTRIES, DIMENSIONS = 10_000, 64
ENCODER, LOG = "e" * 64, "images:memory"


def test_a_tail_is_read_and_kept_in_little_more_than_its_embeddings_take(tmp_path: Path) -> None:
    writer = Writer(tmp_path, ENCODER, DIMENSIONS)
    writer.set_logs([LOG])
    embeddings = np.random.default_rng(1).normal(size=(ENTRIES, DIMENSIONS)).astype("<f4")
    rows = [
        FeedRow(RecordKey(LOG, 0, n), n, "put", "", f"memory/{n}", row.tobytes(), 1_800_000_000_000 + n, metadata="{}")
        for n, row in enumerate(embeddings)
    ]
    writer.stage(writer.fold.add(0, 0, rows))
    writer.publish()
    tracemalloc.start()
    try:
        snapshot = Reader(tmp_path, ENCODER).current()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert snapshot is not None and snapshot.count == ENTRIES
    found = snapshot.find(f"memory/{ENTRIES - 1}")
    assert found is not None and found.embedding.tobytes() == embeddings[-1].tobytes()
    # An array is as long as a power of two, and twice while it grows. Entries as objects took 1,000 bytes more each.
    raw_bytes = 2**14 * DIMENSIONS * 4
    assert kept < 2 * raw_bytes, kept
    assert peak < 3 * raw_bytes, peak
