"""Duplicates: all compared with all, exactly; four classes; and what is left of a run while the gallery changes."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.duplicates import join
from gallery.duplicates.found import Judgement
from gallery.duplicates.grouping import Grouping, Judge, NearPair
from gallery.duplicates.join import exact_distances, nearest_before, stars
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store.distinct import DistinctSet
from gallery.store.rows import FeedRow, RecordSummary
from tests.duplicates import Known, groups_by_brute_force, groups_of

ENCODER, LOG = "0123456789abcdef", "images:x"
DIMENSIONS = 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few images fill several."""
    monkeypatch.setattr(join, "BLOCK_ROWS", 7)
    monkeypatch.setattr(join, "CHUNK_ROWS", 11)


def distance(embeddings: NDArray[np.float32], one: int, other: int) -> float:
    return float(exact_distances(embeddings, np.array([one]), np.array([other]))[0])


@st.composite
def clouds(draw: st.DrawFn) -> tuple[NDArray[np.float32], float]:
    """Embeddings of all sizes, many of them equal or nearly so, and a limit that may be one of their distances."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n, d = draw(st.integers(0, 40)), draw(st.sampled_from([1, 2, 8, 128]))
    scale = draw(st.sampled_from([1.0, 1e-38, 1e-18, 1e15]))
    cloud = random.standard_normal((n, d))
    if n and draw(st.booleans()):
        cloud = cloud[random.integers(0, max(1, n // 4), n)]
    if draw(st.booleans()):
        cloud = cloud + random.standard_normal((n, d)) * 1e-7
    if draw(st.booleans()):
        cloud = np.round(cloud)
    embeddings = (cloud * scale).astype(np.float32)
    if n < 2 or draw(st.booleans()):
        return embeddings, draw(st.sampled_from([0.0, scale, 1e30]))
    return embeddings, distance(embeddings, *random.integers(0, n, 2).tolist())


@settings(max_examples=150, deadline=None)
@given(clouds(), st.integers(1, 4))
def test_nearest_before_are_those_of_brute_force(cloud: tuple[NDArray[np.float32], float], count: int) -> None:
    embeddings, limit = cloud
    found = nearest_before(embeddings, limit, count)
    for row in range(len(embeddings)):
        near = sorted((distance(embeddings, row, other), other) for other in range(row))
        wanted = [each for each in near if each[0] <= limit][:count]
        assert [other for other in found.rows[row].tolist() if other >= 0] == [other for _, other in wanted]
        assert found.distances[row][: len(wanted)].tolist() == pytest.approx([each for each, _ in wanted])
        others = [other for other in range(len(embeddings)) if other != row]
        assert found.has_near[row] or not any(distance(embeddings, row, other) <= limit for other in others)


@settings(max_examples=150, deadline=None)
@given(clouds(), st.data())
def test_stars_are_those_of_brute_force(cloud: tuple[NDArray[np.float32], float], data: st.DataObject) -> None:
    embeddings, limit = cloud
    n = len(embeddings)
    rows = st.integers(0, max(0, n - 1))
    apart: dict[int, set[int]] = {}
    for one, other in data.draw(st.lists(st.tuples(rows, rows), max_size=n)):
        apart.setdefault(one, set()).add(other)
        apart.setdefault(other, set()).add(one)
    wanted = [-1] * n
    for row in range(n):
        if wanted[row] < 0:
            wanted[row] = row
            for other in range(row + 1, n):
                is_free = wanted[other] < 0 and other not in apart.get(row, ())
                if is_free and distance(embeddings, row, other) <= limit:
                    wanted[other] = row
    assert stars(embeddings, limit, apart).tolist() == wanted


class Pipeline:
    """A writer that is fed as the indexer does, and beside it what a plain list of records says."""

    def __init__(self, folder: Path) -> None:
        self.writer, self.folder = Writer(folder, ENCODER, DIMENSIONS), folder
        self.writer.set_logs([LOG])
        self.live: dict[str, Known] = {}
        self.seen: list[Known] = []
        self.offset = 0

    def add(self, image_id: str, look: int | None) -> None:
        """Put an image of one of a few looks, or delete it."""
        key, time_ms = RecordKey(LOG, 0, self.offset), 1000 + self.offset // 3
        self.offset += 1
        self.live.pop(image_id, None)
        blob = None
        if look is not None:
            size, pixels, embedding = look % 3, look // 2, np.zeros(DIMENSIONS, np.float32)
            embedding[look // 4 % DIMENSIONS] = look % 4
            summary = RecordSummary(
                key, 10 * size, 10, 100, *(_hash(kind, n) for kind, n in (("b", look), ("p", pixels)))
            )
            blob = embedding.tobytes()
            self.live[image_id] = Known(image_id, key, time_ms, embedding, summary)
            self.seen.append(self.live[image_id])
        row = FeedRow(key, key.offset, "put" if blob else "delete", "", image_id, blob, time_ms)
        self.writer.stage(self.writer.fold.add(0, 0, [row]))

    def rebuild(self) -> None:
        name, merged = self.writer.next_base_name(), self.writer.manifest.tail.entries
        build_base(self.folder, generation_name=self.writer.current_name(), base_name=name)
        self.writer.replace_base(name, merged)


def _hash(kind: str, number: int) -> bytes:
    return hashlib.sha256(f"{kind} {number}".encode()).digest()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_groups_equal_an_oracle_after_any_puts_replacements_and_deletes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    pipeline = Pipeline(tmp_path_factory.mktemp("index"))
    reader = Reader(pipeline.folder, ENCODER)
    names = st.sampled_from([f"id-{n}" for n in range(25)] + ["ä", "😀/..", "%2F"])
    limit = data.draw(st.sampled_from([0.0, 1.0, 1.5, 3.0]))
    for _ in range(data.draw(st.integers(1, 4))):
        for image_id, look in data.draw(st.lists(st.tuples(names, st.none() | st.integers(0, 30)), max_size=25)):
            pipeline.add(image_id, look)
        pipeline.writer.publish()
        if data.draw(st.booleans()):
            pipeline.rebuild()
        chosen = st.lists(st.sampled_from(pipeline.seen), min_size=2, max_size=5) if pipeline.seen else st.just([])
        sets = [
            DistinctSet(str(number), tuple((each.id, each.key) for each in images), 0)
            for number, images in enumerate(data.draw(st.lists(chosen, max_size=3)))
        ]
        snapshot = reader.current()
        assert snapshot is not None
        found = groups_of(snapshot, pipeline.live, sets, limit)
        assert found == groups_by_brute_force(pipeline.live, sets, limit)
        assert all(len(images) >= 2 for _, images in found)


def counting(judged: list[int]) -> Judge:
    """Judges nothing, and notes how many pairs it was asked about."""

    def judge(pairs: Sequence[NearPair]) -> dict[tuple[int, int], Judgement]:
        judged.append(len(pairs))
        return {}

    return judge


def grouping(embeddings: NDArray[np.float32], pixels: list[bytes], limit: float, judge: Judge) -> Grouping:
    return Grouping(embeddings, [_hash("b", row) for row in range(len(pixels))], pixels, {}, limit, judge)


def test_twenty_thousand_equal_pictures_are_one_group_and_no_pair_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    judged: list[int] = []
    embeddings = np.tile(np.array([1, 2, 3, 4], np.float32), (20_000, 1))
    (group,) = grouping(embeddings, [b"blank"] * 20_000, 0.5, counting(judged)).groups()
    assert (group.kind, len(group.rows), judged) == ("same pixels", 20_000, [0])


def test_blank_pictures_of_many_sizes_are_one_near_group_and_ask_for_few_verdicts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    n = 20_000
    judged: list[int] = []
    embeddings = np.tile(np.array([1, 2, 3, 4], np.float32), (n, 1))
    (group,) = grouping(embeddings, [_hash("p", row) for row in range(n)], 0.5, counting(judged)).groups()
    assert (group.kind, len(group.rows)) == ("near", n)
    assert judged[0] < 4 * n


def test_frames_of_a_film_never_make_one_chain() -> None:
    """Each frame is near the next one only, so all of them are not near the first."""
    film = np.arange(100, dtype=np.float32)[:, None] * np.array([0.4, 0], np.float32)
    groups = grouping(film, [_hash("p", row) for row in range(100)], 0.5, lambda _: {}).groups()
    assert {len(group.rows) for group in groups} == {2}
    assert all(group.distances[1] <= 0.5 for group in groups)
