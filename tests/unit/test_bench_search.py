"""The measurement of searches runs, and what it compares is exact."""

from pathlib import Path

import numpy as np
import pytest

from bench.peers import recall
from bench.search import exact_neighbours, measure_search
from contract.settings import load_settings


@pytest.mark.parametrize("kind", ["digits", "uniform"])
def test_every_exact_method_finds_what_float64_brute_force_finds(tmp_path: Path, kind: str) -> None:
    settings = load_settings(var_dir=tmp_path, compiled_dir=load_settings().compiled_dir)
    names = ["lookalike", "sklearn-kdtree", "numpy"]
    figures = measure_search(settings, 1500, 30, names, kind=kind)
    assert [row["method"] for row in figures["rows"]] == names
    assert all(row["recall_at_10"] == 1 for row in figures["rows"])
    assert figures["rows"][0]["same_ids_in_order"]


def test_the_reference_is_plain_brute_force() -> None:
    random = np.random.default_rng(0)
    embeddings, queries = (random.standard_normal((n, 128)).astype(np.float32) for n in (25_000, 5))
    for query, rows in zip(queries, exact_neighbours(embeddings, queries), strict=True):
        distances = np.linalg.norm(embeddings.astype(np.float64) - query, axis=1)
        assert rows.tolist() == np.argsort(distances)[:10].tolist()


def test_recall_is_the_share_that_was_found_in_any_order() -> None:
    assert recall(np.array([[1, 2, 3, 4]]), np.array([[4, 3, 8, 9]])) == 0.5
