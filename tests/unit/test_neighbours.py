"""The search: the answer of brute force in float64, whatever the embeddings are like; damaged arrays are refused."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

from contract.errors import IndexDamagedError
from gallery.nearest.appended import AppendedEmbeddings, AppendedPrefix
from gallery.nearest.approximations import build_approximations, coordinates_of
from gallery.nearest.contraction import fit_contraction
from gallery.nearest.neighbours import Neighbours, build_neighbours, load_neighbours, nearest_of
from gallery.nearest.search_threads import SearchThreads
from gallery.nearest.tree import build_tree, frozen
from model import mnist
from model.encoder import load_encoder

Floats = NDArray[np.float32]
Make = Callable[[np.random.Generator, int, int], NDArray[Any]]

GALLERIES: dict[str, Make] = {
    "normal": lambda r, n, d: r.standard_normal((n, d)),
    "uniform": lambda r, n, d: r.random((n, d)),
    "clusters": lambda r, n, d: r.standard_normal((5, d))[r.integers(0, 5, n)] * 100 + r.standard_normal((n, d)),
    "far from zero": lambda r, n, d: r.standard_normal((n, d)) + 1e4,
    "few axes": lambda r, n, d: r.standard_normal((n, 2)) @ r.standard_normal((2, d)),
    "duplicates": lambda r, n, d: r.standard_normal((1 + n // 20, d))[r.integers(0, 1 + n // 20, n)],
    "whole numbers": lambda r, n, d: r.integers(-2, 3, (n, d)).astype(np.float64),
    "all equal": lambda r, n, d: np.full((n, d), r.standard_normal()),
    "all zero": lambda r, n, d: np.zeros((n, d)),
    "constant dimensions": lambda r, n, d: np.where(np.arange(d) % 3 == 0, r.standard_normal((n, d)), 7.5),
    "huge": lambda r, n, d: np.clip(r.standard_normal((n, d)), -3, 3) * 1e38,
    "tiny": lambda r, n, d: r.standard_normal((n, d)) * 1e-38,
    "smallest": lambda r, n, d: r.integers(-3, 4, (n, d)).astype(np.float64) * 1.4e-45,
    "every size": lambda r, n, d: r.standard_normal((n, d)) * 10.0 ** r.integers(-40, 38, (n, 1)),
    "one outlier": lambda r, n, d: r.standard_normal((n, d)) * np.where(np.arange(n) == n // 2, 1e30, 1.0)[:, None],
    "distant clusters": lambda r, n, d: r.integers(0, 2, (n, 1)) * 1e20 + r.standard_normal((n, d)),
    "turned coordinates": lambda r, n, d: r.permuted(np.tile(r.standard_normal(d), (n, 1)), axis=1),
}


def exact_distances(embeddings: Floats, query: Floats) -> NDArray[np.float64]:
    """Float64 brute force, adding up in eight running sums: numpy's own order for up to 128 numbers."""
    squares = (embeddings.astype(np.float64) - query.astype(np.float64)) ** 2
    even = squares.shape[1] & ~7
    lanes = np.zeros((len(squares), 8))
    for j in range(0, even, 8):
        lanes += squares[:, j : j + 8]
    a, b, c, d, e, f, g, h = lanes.T
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for j in range(even, squares.shape[1]):
        total += squares[:, j]
    return np.sqrt(total)


def oracle(
    embeddings: Floats, query: Floats, k: int, live: NDArray[np.bool_], max_distance: float | None
) -> tuple[list[float], list[int]]:
    distances = exact_distances(embeddings, query)
    rows = np.flatnonzero(live & (distances <= (np.inf if max_distance is None else max_distance)))
    rows = rows[np.lexsort((rows, distances[rows]))][:k]
    return distances[rows].tolist(), rows.tolist()


def walked(embeddings: Floats, leaf_size: int = 128) -> Neighbours:
    """Searched through the tree, whether that pays or not."""
    tree, row_of = build_tree(embeddings, leaf_size)
    return Neighbours(frozen(embeddings[row_of]), frozen(row_of), tree, None)


def skimmed(embeddings: Floats) -> Neighbours:
    """Searched through approximations, whether that pays or not."""
    rows = frozen(np.arange(len(embeddings), dtype=np.int32))
    return Neighbours(frozen(embeddings), rows, None, build_approximations(embeddings))


def appended_prefix(embeddings: Floats, split: int, coordinates: int) -> AppendedPrefix:
    """Added in two parts and followed by others, in a contraction for the first part, which may not fit the second."""
    n, d = embeddings.shape
    appended = AppendedEmbeddings(d, fit_contraction(embeddings[: max(1, split)], coordinates))
    for part in (embeddings[:split], embeddings[split:]):
        appended.append(part)
        appended.first(appended.count)
    first = appended.first(n)
    appended.append(np.zeros((300, d), np.float32))
    appended.first(appended.count)
    return first


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(sorted(GALLERIES)),
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 300),
    d=st.sampled_from([1, 2, 3, 7, 8, 9, 30, 31, 32, 33, 64, 127, 128, 129, 200, 512]),
    k=st.sampled_from([1, 2, 10, 100, 400]),
    asked=st.sampled_from(["a row", "beside a row", "same kind", "far away", "zero"]),
    dead=st.sampled_from([0.0, 0.05, 0.9, 1.0]),
    within=st.sampled_from([None, 0.0, 0.1, 0.5]),
)
def test_every_way_to_search_answers_as_brute_force_in_float64(
    kind: str, seed: int, n: int, d: int, k: int, asked: str, dead: float, within: float | None
) -> None:
    random = np.random.default_rng(seed)
    largest = float(np.finfo(np.float32).max)
    embeddings = np.clip(GALLERIES[kind](random, n, d), -largest, largest).astype(np.float32)
    row = embeddings[random.integers(n)].astype(np.float64)
    query64 = {
        "a row": row,
        "beside a row": row * (1 + 1e-6 * random.standard_normal(d)),
        "same kind": GALLERIES[kind](random, 1, d)[0],
        "far away": row * 1e6 + 1e3,
        "zero": np.zeros(d),
    }[asked]
    query = np.clip(query64, -largest, largest).astype(np.float32)
    live = frozen(random.random(n) >= dead)
    distances = exact_distances(embeddings, query)
    # A distance that occurs: the limit itself is within the limit.
    max_distance = None if within is None else float(np.sort(distances)[int(within * (n - 1))])
    expected = oracle(embeddings, query, k, live, max_distance)
    split = int(random.integers(0, n + 1))
    by_tree, by_codes = walked(embeddings, leaf_size=8), skimmed(embeddings)
    for found in (
        by_tree.nearest(query, k, live, max_distance),
        by_codes.nearest(query, k, live, max_distance),
        by_tree.nearest_chosen(query, k, by_tree.choose(live), max_distance),
        by_codes.nearest_chosen(query, k, by_codes.choose(live), max_distance),
        nearest_of(embeddings, query, k, live, max_distance),
        appended_prefix(embeddings, split, random.choice([32, coordinates_of(d)])).nearest(
            query, k, live, max_distance
        ),
    ):
        assert (found[0].tolist(), found[1].tolist()) == expected
    queries = np.concatenate(
        [[query, np.zeros(d, np.float32)], embeddings[random.integers(0, n, int(random.integers(8)))]]
    )
    limits = np.where(random.random(len(queries)) < 0.3, np.inf, distances[random.integers(0, n, len(queries))])
    limits[0] = np.inf if max_distance is None else max_distance
    appended = appended_prefix(embeddings, split, coordinates_of(d))
    for of_all in (
        by_tree.nearest_all(queries, k, live, limits),
        by_codes.nearest_all(queries, k, live, limits),
        by_codes.nearest_all(queries, k, by_codes.choose(live), limits),
        appended.nearest_all(queries, k, live, limits),
    ):
        assert len(of_all) == len(queries)
        for one, found, limit in zip(queries, of_all, limits, strict=True):
            assert (found[0].tolist(), found[1].tolist()) == oracle(embeddings, one, k, live, float(limit))


def test_eight_running_sums_are_numpys_own_sum_of_128_numbers() -> None:
    random = np.random.default_rng(0)
    embeddings = (random.standard_normal((1000, 128)) * 10.0 ** random.integers(-8, 8, (1000, 1))).astype(np.float32)
    query = random.standard_normal(128).astype(np.float32)
    differences = embeddings.astype(np.float64) - query.astype(np.float64)
    assert (exact_distances(embeddings, query) == np.sqrt((differences * differences).sum(axis=1))).all()


@pytest.fixture(scope="module")
def digits() -> Floats:
    """Embeddings (10000, 128) of all test digits."""
    encoder = load_encoder("report-autoencoder")
    return np.stack([encoder.embed(pixels) for pixels in mnist.pixels("test")])


@pytest.mark.parametrize("k", [1, 10, 100])
@pytest.mark.parametrize("way", [walked, skimmed, build_neighbours])
def test_real_embeddings_are_answered_exactly(digits: Floats, k: int, way: Callable[[Floats], Neighbours]) -> None:
    gallery, queries = digits[:9500], digits[9500:]
    neighbours = way(gallery)
    live = np.ones(len(gallery), np.bool_)
    live[::20] = False
    for query in queries[:: 1 if k == 10 else 10]:
        found = neighbours.nearest(query, k, frozen(live))
        assert (found[0].tolist(), found[1].tolist()) == oracle(gallery, query, k, live, None)


def test_plain_kdtree_finds_the_same_neighbours(digits: Floats) -> None:
    neighbours = build_neighbours(digits[:9000])
    live = frozen(np.ones(9000, np.bool_))
    distances, rows = KDTree(digits[:9000].astype(np.float64)).query(digits[9000:9100].astype(np.float64), k=10)
    for query, expected_distances, expected_rows in zip(digits[9000:9100], distances, rows, strict=True):
        found_distances, found_rows = neighbours.nearest(query, 10, live)
        assert found_rows.tolist() == expected_rows.tolist()
        np.testing.assert_allclose(found_distances, expected_distances, rtol=1e-12)


@pytest.mark.parametrize(("way", "number"), [(walked, 4), (skimmed, 1)])
@pytest.mark.parametrize("outliers", [0, 1])
def test_few_real_embeddings_are_looked_at_whatever_outliers_there_are(
    digits: Floats, way: Callable[[Floats], Neighbours], number: int, outliers: int
) -> None:
    neighbours = way(np.concatenate([digits[:9500], np.full((outliers, 128), 1e30, np.float32)]))
    work, live = np.zeros(5, np.int64), frozen(np.ones(9500 + outliers, np.bool_))
    for query in digits[9500:]:
        neighbours._search(query, 10, live, None, work)
    assert work[number] / 500 < 300


def test_embeddings_without_structure_are_found_by_approximations() -> None:
    vectors = np.random.default_rng(0).random((20_000, 128)).astype(np.float32)
    neighbours = build_neighbours(vectors)
    assert neighbours.tree is None
    assert neighbours.approximations is not None
    assert build_neighbours(vectors[:10]).approximations is None


def test_threads_that_share_a_search_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gallery.nearest.approximations._BLOCKS_EACH", 8)
    random = np.random.default_rng(0)
    vectors = random.integers(-2, 3, (3000, 40)).astype(np.float32)  # with many that are equally near
    neighbours, live = skimmed(vectors), frozen(random.random(3000) < 0.9)
    queries = vectors[::300]
    for count in (1, 2, 5, 0):
        threads = SearchThreads()
        threads.use(count)
        monkeypatch.setattr("gallery.nearest.approximations.SEARCH_THREADS", threads)
        with ThreadPoolExecutor(4) as side_by_side:
            for k in (1, 10, 400):
                found = side_by_side.map(lambda query, k=k: neighbours.nearest(query, k, live), queries)
                for query, (distances, rows) in zip(queries, found, strict=True):
                    assert (distances.tolist(), rows.tolist()) == oracle(vectors, query, k, live, None)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        build_neighbours(np.array([[0.0, wrong]], np.float32))


def test_nothing_is_found_in_nothing() -> None:
    distances, rows = build_neighbours(np.zeros((0, 128), np.float32)).nearest(
        np.zeros(128, np.float32), 3, np.zeros(0, np.bool_)
    )
    assert len(distances) == len(rows) == 0


@pytest.mark.parametrize("way", [walked, skimmed])
def test_index_is_little_larger_than_its_embeddings(
    digits: Floats, tmp_path: Path, way: Callable[[Floats], Neighbours]
) -> None:
    way(digits).save(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1.29 * digits.nbytes


@pytest.mark.parametrize("way", [walked, skimmed])
def test_saved_and_mapped_it_answers_alike(digits: Floats, tmp_path: Path, way: Callable[[Floats], Neighbours]) -> None:
    built = way(digits[:5000])
    built.save(tmp_path)
    loaded, live = load_neighbours(tmp_path), frozen(np.ones(5000, np.bool_))
    for query in digits[5000:5050]:
        (d1, r1), (d2, r2) = built.nearest(query, 10, live), loaded.nearest(query, 10, live)
        assert d1.tolist() == d2.tolist()
        assert r1.tolist() == r2.tolist()
    rows = np.array([0, 4999, 17])
    assert (loaded.embeddings_of(rows) == digits[rows]).all()


@settings(max_examples=200, deadline=None)
@given(data=st.data(), way=st.sampled_from([partial(walked, leaf_size=16), skimmed]))
def test_damaged_arrays_are_refused_or_searched_without_harm(
    data: st.DataObject, way: Callable[[Floats], Neighbours], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    way(np.random.default_rng(1).standard_normal((500, 40)).astype(np.float32)).save(folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
    file.write_bytes(content)
    try:
        neighbours = load_neighbours(folder)
    except IndexDamagedError:
        return
    n, d = neighbours.embeddings.shape
    neighbours.nearest(np.zeros(d, np.float32), 10, frozen(np.ones(n, np.bool_)))
