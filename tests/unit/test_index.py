"""The index on disk and in memory: exact answers, atomic generations, damage refused."""

import json
import os
from collections.abc import Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.generations.writer import Writer, lock_index
from gallery.store.rows import FeedRow

ENCODER = "0123456789abcdef"


class Feed:
    """Feeds a writer as the indexer does."""

    def __init__(self, folder: Path) -> None:
        self.writer = Writer(folder, ENCODER)
        self.writer.set_logs(["images:x"])
        self.folder = folder
        self.offset = self.writer.manifest.offsets.get("0", 0)

    def add(self, *changes: tuple[str, NDArray[np.float32] | None], metadata: Sequence[str] = ()) -> None:
        """Each id with its embedding, None for a delete; `metadata` are those of the first changes."""
        rows = []
        told_of_all = chain(metadata, repeat(""))
        for (image_id, embedding), told in zip(changes, told_of_all, strict=False):
            blob = None if embedding is None else embedding.astype("<f4").tobytes()
            outcome = "delete" if embedding is None else "put"
            place = RecordKey("images:x", 0, self.offset)
            rows.append(FeedRow(place, self.offset, outcome, "", image_id, blob, 1000, metadata=told))  # type: ignore[arg-type]
            self.offset += 1
        self.writer.stage(self.writer.fold.add(0, 0, rows))
        self.writer.publish()

    def rebuild(self) -> None:
        name, merged = self.writer.next_base_name(), self.writer.manifest.tail.entries
        build_base(self.folder, generation_name=self.writer.current_name(), base_name=name)
        self.writer.replace_base(name, merged)


def embedding(seed: int, scale: float = 1.0) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal(128) * scale).astype(np.float32)


def brute_force(gallery: dict[str, NDArray[np.float32]], query: NDArray[np.float32], k: int) -> list[str]:
    keyed = [(np.linalg.norm(e.astype(np.float64) - query), image_id.encode()) for image_id, e in gallery.items()]
    return [image_id.decode() for _, image_id in sorted(keyed)[:k]]


def answer(snapshot: Snapshot | None, query: NDArray[np.float32], k: int) -> list[str]:
    assert snapshot is not None
    return [match.image_id for match in snapshot.search(query, k)]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_answers_equal_brute_force_after_any_puts_deletes_and_rebuilds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    feed = Feed(tmp_path_factory.mktemp("index"))
    reader = Reader(feed.folder, ENCODER)
    gallery: dict[str, NDArray[np.float32]] = {}
    names = st.sampled_from([f"id-{n}" for n in range(30)] + ["ä", "😀/..", "%2F"])
    for _ in range(data.draw(st.integers(1, 6))):
        changes = data.draw(st.lists(st.tuples(names, st.none() | st.integers(0, 12)), max_size=25))
        scale = data.draw(st.sampled_from([1.0, 1e-20, 1e18]))
        resolved = [(name, None if seed is None else embedding(seed, scale)) for name, seed in changes]
        feed.add(*resolved)
        for name, vector in resolved:
            gallery.pop(name, None)
            if vector is not None:
                gallery[name] = vector
        if data.draw(st.booleans()):
            feed.rebuild()
        query = embedding(data.draw(st.integers(0, 20)), scale)
        k = data.draw(st.integers(1, 12))
        snapshot = reader.current()
        assert answer(snapshot, query, k) == brute_force(gallery, query, k)
        assert snapshot is not None and snapshot.count == len(gallery)
        for name in gallery:
            found = snapshot.find(name)
            assert found is not None and (found.embedding == gallery[name]).all()


def test_exact_duplicates_come_back_in_the_order_of_their_ids(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(*[(f"{n:03}", embedding(1)) for n in reversed(range(300))])
    feed.rebuild()
    feed.add(*[(f"{n:03}x", embedding(1)) for n in range(300)])
    expected = sorted(f"{n:03}{x}" for n in range(300) for x in ("", "x"))[:100]
    assert answer(Reader(tmp_path, ENCODER).current(), embedding(2), 100) == expected


def test_older_snapshot_goes_on_answering_from_what_it_covers(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = Reader(tmp_path, ENCODER)
    feed.add(("a", embedding(1)))
    old = reader.current()
    feed.add(*[(f"b{n}", embedding(n)) for n in range(600)], ("a", None))
    new = reader.current()
    assert old is not None and new is not None
    assert answer(old, embedding(1), 5) == ["a"]
    assert old.find("a") is not None and new.find("a") is None


def test_what_came_while_a_base_was_built_is_carried_over_in_pieces_and_nothing_waits_for_it(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = Reader(tmp_path, ENCODER)
    gallery = {f"id-{n}": embedding(n) for n in range(40)}
    feed.add(*gallery.items())
    old, merged = feed.writer.next_base_name(), feed.writer.manifest.tail.entries
    build_base(tmp_path, generation_name=feed.writer.current_name(), base_name=old)

    def change(number: int) -> None:
        """One replaced, one deleted, one new."""
        changes = {
            f"id-{number}": embedding(100 + number),
            f"id-{20 + number}": None,
            f"new-{number}": embedding(200 + number),
        }
        feed.add(*changes.items())
        gallery.update({image_id: found for image_id, found in changes.items() if found is not None})
        del gallery[f"id-{20 + number}"]

    for number in range(10):
        change(number)
    feed.writer.begin_base(old, merged)
    pieces = 0
    while feed.writer.carry_over(entries_min=4) is None:
        assert feed.writer.manifest.base.name == ""
        change(10 + pieces)
        pieces += 1
        assert answer(reader.current(), embedding(7), 60) == brute_force(gallery, embedding(7), 60)
    assert 3 < pieces < 10
    assert feed.writer.manifest.base.name == old
    assert feed.writer.manifest.tail.entries == 3 * (10 + pieces)
    for found in (reader.current(), Reader(tmp_path, ENCODER).current()):
        assert answer(found, embedding(7), 60) == brute_force(gallery, embedding(7), 60)
    assert Writer(tmp_path, ENCODER).manifest == feed.writer.manifest


def test_delete_is_remembered_through_a_rebuild_against_an_older_put(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(("a", embedding(1)), ("a", None))
    feed.rebuild()
    older = FeedRow(RecordKey("images:x", 1, 0), 0, "put", "", "a", embedding(1).tobytes(), 999)
    assert [entry.is_late for entry in feed.writer.fold.add(0, 1, [older])] == [True]


def test_restarted_writer_goes_on_where_the_last_generation_ended(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(("a", embedding(1)), ("b", embedding(2)))
    feed.writer.stage(feed.writer.fold.add(0, 0, []))
    tail = tmp_path / "tails" / feed.writer.manifest.tail.name
    feed.writer.close()
    with tail.open("ab") as file:
        file.write(b"left by a crash before the manifest")
    again = Feed(tmp_path)
    assert again.offset == 2
    again.add(("c", embedding(3)))
    assert sorted(answer(Reader(tmp_path, ENCODER).current(), embedding(1), 9)) == ["a", "b", "c"]
    assert again.writer.manifest.index_id == feed.writer.manifest.index_id


@pytest.mark.parametrize("what", ["tails", "bases"])
def test_damaged_generation_is_refused_and_the_last_good_one_answers(tmp_path: Path, what: str) -> None:
    feed = Feed(tmp_path)
    reader = Reader(tmp_path, ENCODER)
    feed.add(("a", embedding(1)))
    feed.rebuild()
    feed.add(("b", embedding(2)))
    good = reader.current()
    feed.add(("c", embedding(3)))
    feed.rebuild()
    feed.add(("d", embedding(4)))
    file = next(path for path in sorted((tmp_path / what).glob("**/*"), reverse=True) if path.is_file())
    blob = bytearray(file.read_bytes())
    blob[-1] ^= 1
    file.write_bytes(blob)
    assert reader.current() is good
    assert file.name in reader.refused
    assert Writer(tmp_path, ENCODER).manifest.index_id != feed.writer.manifest.index_id


def test_generations_are_kept_for_a_minute_and_the_last_eight_of_them_for_longer(tmp_path: Path) -> None:
    now_s = 0.0
    writer = Writer(tmp_path, ENCODER, clock=lambda: now_s)
    for _ in range(20):
        writer.publish()
    assert len(list((tmp_path / "generations").iterdir())) == 21
    now_s = 61.0
    writer.publish()
    assert len(list((tmp_path / "generations").iterdir())) == 8
    assert Reader(tmp_path, ENCODER).current() is not None


def test_generation_of_another_encoder_is_refused(tmp_path: Path) -> None:
    Feed(tmp_path).add(("a", embedding(1)))
    reader = Reader(tmp_path, "another")
    assert reader.current() is None
    assert "LOOKALIKE_ENCODER" in reader.refused


def test_folder_of_an_older_format_starts_a_new_index(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(("a", embedding(1)))
    file = tmp_path / "generations" / (tmp_path / "CURRENT").read_text()
    manifest = json.loads(file.read_text())
    del manifest["format"]  # as the first format was written
    file.write_text(json.dumps(manifest))
    reader = Reader(tmp_path, ENCODER)
    assert reader.current() is None
    assert "format 1" in reader.refused
    started = Feed(tmp_path)
    assert started.writer.manifest.index_id != feed.writer.manifest.index_id
    assert started.writer.manifest.generation > feed.writer.manifest.generation
    assert reader.current() is None  # programs of that version answer from theirs
    started.add(("a", embedding(1)))
    assert answer(reader.current(), embedding(1), 1) == ["a"]


def test_index_rebuilt_from_the_feed_is_served_once_it_covers_as_much(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    reader = Reader(tmp_path, ENCODER)
    feed.add(("a", embedding(1)), ("b", embedding(2)))
    old = reader.current()
    feed.writer = Writer(tmp_path, ENCODER, rebuild=True)
    feed.writer.set_logs(["images:x"])
    feed.offset = 0
    feed.add(("a", embedding(1)))
    assert reader.current() is old
    feed.add(("b", embedding(2)))
    new = reader.current()
    assert new is not None and new.manifest.index_id == feed.writer.manifest.index_id


def test_what_earlier_writers_left_is_deleted_but_nothing_recent(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    for n in range(20):
        feed.add((f"image/{n}", embedding(n)))
        if n % 6 == 5:
            feed.rebuild()
    (tmp_path / "bases" / "abandoned.tmp").mkdir()
    files = sorted((tmp_path / "generations").iterdir())
    Writer(tmp_path, ENCODER).close()
    assert sorted((tmp_path / "generations").iterdir()) == files, "all are younger than a minute"
    for path in files:
        os.utime(path, (0, 0))
    feed.add(("now", embedding(99)))
    Writer(tmp_path, ENCODER).close()
    left = sorted((tmp_path / "generations").iterdir())
    assert left == [*files[-7:], tmp_path / "generations" / (tmp_path / "CURRENT").read_text()]
    used = [json.loads(path.read_text()) for path in left]
    assert {path.name for path in (tmp_path / "bases").iterdir()} == {manifest["base"]["name"] for manifest in used}
    assert {path.name for path in (tmp_path / "tails").iterdir()} == {manifest["tail"]["name"] for manifest in used}
    snapshot = Reader(tmp_path, ENCODER).current()
    assert snapshot is not None
    assert snapshot.count == 21


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    assert lock_index(tmp_path) is not None
    assert lock_index(tmp_path) is None


def test_manifest_names_every_file_with_its_sum(tmp_path: Path) -> None:
    feed = Feed(tmp_path)
    feed.add(("a", embedding(1)))
    feed.rebuild()
    manifest = json.loads((tmp_path / "generations" / (tmp_path / "CURRENT").read_text()).read_text())
    folder = tmp_path / "bases" / manifest["base"]["name"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest["base"]["files"]) == files - {"files.json"}
