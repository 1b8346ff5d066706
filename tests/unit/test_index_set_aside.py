"""Rows of the feed that cannot be used: they are set aside and counted, and all behind them goes on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.record_key import RecordKey
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow
from tests.unit.test_index import ENCODER, Feed, answer, brute_force, embedding


def put(
    offset: int, image_id: str, blob: bytes | None, outcome: str = "put", reason: str = "", ms: int = 1000
) -> FeedRow:
    return FeedRow(RecordKey("images:x", 0, offset), offset, outcome, reason, image_id, blob, ms)  # type: ignore[arg-type]


GOOD = embedding(2).tobytes()
UNUSABLE = [
    *(
        ("bad-metadata", replace(put(1, "bad", GOOD), metadata=told))
        for told in ("[]", "7", "{", '{"a":NaN}', '{"a":"\\ud800"}', '{"a":"\udcff"}', "\0", "[" * 100_000)
    ),
    ("embedding-not-finite", put(1, "bad", (embedding(2) * np.float32("nan")).tobytes())),
    ("embedding-not-finite", put(1, "bad", (embedding(2) * np.float32("inf")).tobytes())),
    ("embedding-length", put(1, "bad", GOOD[:400])),
    ("embedding-length", put(1, "bad", GOOD[:-1])),
    ("embedding-length", put(1, "bad", GOOD + b"more")),
    ("embedding-length", put(1, "bad", b"")),
    ("no-embedding", put(1, "bad", None)),
    ("unknown-outcome", put(1, "bad", GOOD, outcome="")),
    ("unknown-outcome", put(1, "bad", GOOD, outcome="puts")),
    ("unknown-outcome", put(1, "bad", GOOD, outcome="\udcff")),
    ("no-reason", put(1, "bad", None, outcome="reject")),
    ("no-time", put(1, "bad", GOOD, ms=-1)),
    ("bad-id", put(1, "", GOOD)),
    ("bad-id", put(1, "a\0", GOOD)),
    ("bad-id", put(1, "\udced\udca0\udc80", GOOD)),
    ("bad-id", put(1, "x" * 70_000, GOOD)),
    ("bad-id", put(1, "", None, outcome="delete")),
]


@pytest.mark.parametrize(("reason", "row"), UNUSABLE)
def test_row_that_cannot_be_used_is_set_aside_and_all_behind_it_goes_on(
    tmp_path: Path, reason: str, row: FeedRow
) -> None:
    feed = Feed(tmp_path)
    feed.add(("bad", embedding(1)))
    feed.writer.stage(feed.writer.fold.add(0, 0, [row, put(2, "good", GOOD)]))
    feed.writer.publish()
    feed.offset = 3
    (told,) = feed.writer.fold.unusable.tell()
    assert (told.key, told.reason) == (RecordKey("images:x", 0, 1), reason)
    feed.rebuild()
    feed.writer.close()
    feed = Feed(tmp_path)  # as after a restart
    snapshot = Reader(tmp_path, ENCODER).current()
    assert snapshot is not None
    assert answer(snapshot, embedding(2), 5) == ["good", "bad"], "the id means what the record before it said"
    manifest = snapshot.manifest
    assert manifest.set_aside == {reason: 1} and manifest.offsets == {"0": 3}
    assert {i: (n.position[3], n.reason) for i, n in manifest.not_shown.items()} == (
        {"bad": (1, reason)} if reason not in ("bad-id", "no-reason") else {}
    )
    feed.add(("bad", embedding(3)))
    assert feed.writer.manifest.not_shown == {}
    assert feed.writer.manifest.set_aside == {reason: 1}


def test_set_aside_record_that_is_older_than_what_is_shown_is_only_counted(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(("a", embedding(1)))
    older = FeedRow(RecordKey("images:x", 1, 0), 0, "put", "", "a", b"", 999)
    assert feed.writer.fold.add(0, 1, [older]) == []
    manifest = feed.writer.publish()
    assert (manifest.set_aside, manifest.not_shown) == ({"embedding-length": 1}, {})


def test_ids_that_are_not_shown_are_remembered_up_to_a_bound(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.writer.fold.add(0, 0, [put(n, f"id/{n}", b"") for n in range(1500)])
    manifest = feed.writer.publish()
    assert manifest.set_aside == {"embedding-length": 1500}
    assert len(manifest.not_shown) == 1000 and "id/1499" in manifest.not_shown


@pytest.mark.parametrize("dimensions", [2, 31, 256, 512])
def test_index_has_the_dimensions_of_its_encoder(tmp_path: Path, dimensions: int) -> None:
    random = np.random.default_rng(5)
    vectors = {f"{n:03}": random.standard_normal(dimensions).astype(np.float32) for n in range(400)}
    writer = Writer(tmp_path, ENCODER, dimensions)
    writer.set_logs(["images:x"])
    rows = [put(n, image_id, vector.tobytes()) for n, (image_id, vector) in enumerate(vectors.items())]
    writer.stage(writer.fold.add(0, 0, [*rows[:300], put(300, "of another encoder", GOOD)]))
    writer.publish()
    name, merged = writer.next_base_name(), writer.manifest.tail.entries
    build_base(tmp_path, generation_name=writer.current_name(), base_name=name)
    writer.replace_base(name, merged)
    writer.stage(
        writer.fold.add(
            0,
            0,
            [replace(row, key=row.key._replace(offset=301 + n), after=301 + n) for n, row in enumerate(rows[300:])],
        )
    )
    assert writer.publish().set_aside == {"embedding-length": 1}
    writer.close()
    snapshot = Reader(tmp_path, ENCODER).current()
    assert snapshot is not None and snapshot.manifest.dimensions == dimensions
    query = random.standard_normal(dimensions).astype(np.float32)
    assert answer(snapshot, query, 20) == brute_force(vectors, query, 20)
    assert Writer(tmp_path, ENCODER, dimensions).manifest.index_id == snapshot.manifest.index_id
    assert Writer(tmp_path, ENCODER, dimensions - 1).manifest.index_id != snapshot.manifest.index_id
