"""Answers as of an earlier time equal brute force over the plain list of records, whatever was replaced, merged and dropped."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.generations.fold import Position
from gallery.generations.history import AsOf, Floor, HistoryGoneError
from gallery.generations.id_table import IdTable
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.selection import Selections
from gallery.generations.snapshot import Snapshot
from gallery.generations.tail import Tail
from gallery.generations.writer import Writer
from gallery.nearest.neighbours import build_neighbours
from gallery.store.rows import FeedRow
from gallery.verify import verify
from tests.unit.test_history import as_of_anything, counts

ENCODER, DIMENSIONS = "0123456789abcdef", 6
LOGS = ["images:x", "images:y"]
NOW = AsOf(time_ms=10**6)


@dataclass(frozen=True)
class Record:
    """A put, or a delete where there is no seed."""

    image_id: str
    position: Position
    seed: int | None


def embedding(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


@dataclass
class Gallery:
    """The index, and beside it all that was ever said, and what must count since something was dropped."""

    folder: Path
    logs: list[str] = field(default_factory=lambda: LOGS)
    said: list[Record] = field(default_factory=list)
    kept: list[Record] = field(default_factory=list)
    needed: list[Record] = field(default_factory=list)
    progress: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    rows: list[FeedRow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.open()
        self.writer.set_logs(self.logs)

    def open(self) -> None:
        self.writer = Writer(self.folder, ENCODER, DIMENSIONS)

    def add(self, log: int, partition: int, changes: list[tuple[str, int | None, int]]) -> None:
        rows = []
        for image_id, seed, time_ms in changes:
            offset, effective_ms = self.progress.get((log, partition), (0, 0))
            effective_ms = max(effective_ms, time_ms)
            self.progress[log, partition] = offset + 1, effective_ms
            blob = None if seed is None else embedding(seed).tobytes()
            key, outcome = RecordKey(LOGS[log], partition, offset), "delete" if seed is None else "put"
            rows.append(FeedRow(key, offset, outcome, "", image_id, blob, time_ms))  # type: ignore[arg-type]
            self.said.append(Record(image_id, Position(log, effective_ms, partition, offset, time_ms), seed))
        self.kept += self.said[len(self.said) - len(changes) :]
        self.rows += rows
        self.writer.stage(self.writer.fold.add(log, partition, rows))
        self.writer.publish()

    def build(self, horizon_ms: int) -> tuple[str, int]:
        name, merged = self.writer.next_base_name(), self.writer.manifest.tail.entries
        build_base(self.folder, generation_name=self.writer.current_name(), base_name=name, horizon_ms=horizon_ms)
        for image_id in {record.image_id for record in self.kept}:
            of_id = [record for record in self.kept if record.image_id == image_id]
            old = [record for record in of_id if record.position.effective_ms <= horizon_ms]
            top = max(old, key=lambda record: record.position, default=None)
            dropped = [record for record in of_id if top and record.position < top.position]
            self.kept = [record for record in self.kept if record not in dropped]
            self.needed += [top] if top and dropped else []
        return name, merged

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int) -> Iterator[FeedRow]:
        """As a feed does."""
        yield from (
            row
            for row in self.rows
            if row.key[:2] == start[:2] and start.offset <= row.key.offset < end_offset and fingerprint == ENCODER
        )

    def verified(self, snapshot: Snapshot | None) -> list[str]:
        assert snapshot is not None
        return verify(snapshot, self).differences  # type: ignore[arg-type]

    def images(self, as_of: AsOf) -> dict[str, Record]:
        meant: dict[str, Record] = {}
        for record in sorted(self.said, key=lambda record: record.position):
            if counts(as_of, record.position):
                meant[record.image_id] = record
        return {image_id: record for image_id, record in meant.items() if record.seed is not None}

    def check(self, snapshot: Snapshot | None, as_of: AsOf, query: NDArray[np.float32], k: int) -> None:
        assert snapshot is not None
        now = self.images(NOW)
        assert told(snapshot.search(query, k)) == nearest(now, query, k)
        assert snapshot.count == len(now)
        if not all(counts(as_of, record.position) for record in self.needed):
            with pytest.raises(HistoryGoneError):
                snapshot.select(as_of)
            return
        selection, images = snapshot.select(as_of), self.images(as_of)
        assert told(snapshot.search(query, k, None, selection)) == nearest(images, query, k)
        assert told(snapshot.search(query, k, 2.5, selection)) == nearest(images, query, k, 2.5)
        assert selection.count == len(images)
        for image_id in {record.image_id for record in self.said}:
            found, expected = snapshot.find(image_id, selection), images.get(image_id)
            assert (found is None) == (expected is None)
            if found is not None and expected is not None and expected.seed is not None:
                assert found.source[1:] == (expected.position.partition, expected.position.offset)
                assert (found.embedding == embedding(expected.seed)).all()
        left_out = [r.position for r in self.kept if r.position.log_number == 1 and not counts(as_of, r.position)]
        for partition in {position.partition for position in left_out}:
            assert selection.later[partition] == min(p.offset for p in left_out if p.partition == partition)


def told(matches: list) -> list[tuple[str, str, int, int]]:  # type: ignore[type-arg]
    return [(match.image_id, *match.source) for match in matches]


def nearest(
    images: dict[str, Record], query: NDArray[np.float32], k: int, max_distance: float = np.inf
) -> list[tuple[str, str, int, int]]:
    keyed = []
    for image_id, record in images.items():
        assert record.seed is not None
        distance = np.linalg.norm(embedding(record.seed).astype(np.float64) - query)
        place = record.position
        keyed.append((distance, image_id.encode(), (image_id, LOGS[place.log_number], place.partition, place.offset)))
    return [where for distance, _, where in sorted(keyed)[:k] if distance <= max_distance]


def changes(size: int) -> st.SearchStrategy[list[tuple[str, int | None, int]]]:
    names = st.sampled_from(["a", "b", "c", "ä", "😀/.."])
    return st.lists(st.tuples(names, st.none() | st.integers(0, 9), st.integers(1, 9)), max_size=size)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_earlier_time_is_answered_as_brute_force_would_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    gallery = Gallery(tmp_path_factory.mktemp("index"))
    reader = Reader(gallery.folder, ENCODER)
    asked = data.draw(st.lists(as_of_anything(), min_size=1, max_size=3))
    place = st.tuples(st.integers(0, 1), st.integers(0, 2))
    for _ in range(data.draw(st.integers(1, 6))):
        gallery.add(*data.draw(place), data.draw(changes(8)))
        what = data.draw(st.sampled_from(["nothing", "nothing", "base", "base", "base behind", "restart"]))
        if what == "restart":
            gallery.writer.close()
            gallery.open()
        elif what != "nothing":
            built = gallery.build(data.draw(st.integers(0, 10)))
            if what == "base behind":
                gallery.add(*data.draw(place), data.draw(changes(4)))
            gallery.writer.replace_base(*built)
        query, k = embedding(data.draw(st.integers(0, 12))), data.draw(st.integers(1, 6))
        for as_of in asked:
            gallery.check(reader.current(), as_of, query, k)
    assert gallery.verified(reader.current()) == []
    for as_of in asked:
        gallery.check(Reader(gallery.folder, ENCODER).current(), as_of, query, k)


def test_a_snapshot_that_is_held_answers_earlier_times_while_the_tail_goes_on(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    reader = Reader(tmp_path, ENCODER)
    gallery.add(1, 0, [("a", 1, 5), ("b", 2, 5)])
    held, as_of = reader.current(), AsOf(offsets=((0, 9),))
    gallery.add(1, 0, [("a", 3, 6), ("b", None, 6)])
    newer = reader.current()
    assert held is not None and newer is not None
    assert [match.image_id for match in newer.search(embedding(3), 5, None, newer.select(as_of))] == ["a"]
    assert [match.source.offset for match in held.search(embedding(1), 5, None, held.select(as_of))] == [0, 1]
    assert [match.source.offset for match in newer.search(embedding(3), 5, None, newer.select(as_of))] == [2]
    assert held.find("b") is not None and newer.find("b") is None


def test_offsets_are_of_the_newest_log_as_soon_as_there_is_one(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path, logs=LOGS[:1])
    reader = Reader(tmp_path, ENCODER)
    gallery.add(0, 0, [("a", 1, 5), ("b", 2, 6)])
    before, none, one = reader.current(), AsOf(offsets=((0, 0),)), AsOf(offsets=((0, 1),))
    assert before is not None and (before.select(none).count, before.select(one).count) == (0, 1)
    gallery.writer.set_logs(LOGS)
    gallery.add(1, 0, [("c", 3, 7), ("d", 4, 7)])
    after = reader.current()
    assert after is not None and (before.select(none).count, before.select(one).count) == (0, 1)
    for as_of, ids in ((none, {"a", "b"}), (one, {"a", "b", "c"})):
        assert {match.image_id for match in after.search(embedding(1), 9, None, after.select(as_of))} == ids


def test_history_that_a_base_dropped_stays_dropped_for_a_restarted_writer(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    gallery.add(1, 2, [("a", 1, 5), ("a", 2, 6), ("a", 3, 9)])
    gallery.writer.replace_base(*gallery.build(7))
    gallery.writer.close()
    gallery.open()
    gallery.add(1, 2, [("b", 4, 9)])
    gallery.writer.replace_base(*gallery.build(0))
    snapshot = Reader(tmp_path, ENCODER).current()
    assert snapshot is not None
    with pytest.raises(HistoryGoneError) as refused:
        snapshot.select(AsOf(offsets=((2, 1),)))
    assert (refused.value.offsets, refused.value.time_ms) == ({2: 2}, 6)
    assert snapshot.select(AsOf(offsets=((2, 2),))).count == 1
    assert snapshot.select(AsOf(time_ms=6)).count == 1


def test_verify_finds_history_that_is_missing_wrong_or_too_much(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    gallery.add(1, 2, [("a", 1, 5), ("a", 2, 6), ("b", 3, 6), ("b", None, 7), ("b", 4, 9)])
    gallery.writer.replace_base(*gallery.build(6))
    snapshot = Reader(tmp_path, ENCODER).current()
    assert snapshot is not None and gallery.verified(snapshot) == []
    base = snapshot.base
    for changed, said in (
        ({"floor": Floor()}, ["'a': the record at Position(log_number=1, effective_ms=5, partition=2, offset=0"]),
        ({"deletes": IdTable.build([], []), "deletes_of": base.replaced.deletes_of[:0]}, ["'b': the record at"]),
        ({"neighbours": build_neighbours(embedding(9)[None])}, ["kept as an earlier one"]),
    ):
        tail = Tail(replace(base, replaced=replace(base.replaced, **changed)))
        found = gallery.verified(Snapshot(snapshot.manifest, tail, Selections(tail)))
        assert len(found) == 1 and said[0] in found[0]
