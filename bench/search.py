"""How long one exact search takes beside what people reach for, on the same embeddings in the same run, one thread."""

import importlib.metadata
import os
import platform
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.embeddings import gallery, queries
from bench.peers import METHODS, K, Method, recall, tune
from contract.progress import progress_line
from contract.settings import Settings
from gallery.compiled import compile_search
from model.encoder import load_encoder

ROUNDS = 3
INTERLEAVED = 100  # queries of one method before the next one has its turn
SLOW_MS = 5.0  # a slower method is asked each query once, a third of them a round
_PACKAGES = ("numpy", "numba", "scikit-learn", "faiss-cpu", "hnswlib", "usearch")


def measure_search(
    settings: Settings, n: int, query_count: int, names: list[str], *, is_uniform: bool = False
) -> dict[str, Any]:
    """Rows of figures, one a method, over n embeddings and queries that are not among them.

    Args:
        is_uniform: uniform random numbers instead of digits: the worst case, without any structure.
    """
    compile_search(settings.compiled_dir)
    embeddings, asked = _uniform(n, query_count) if is_uniform else _digits(settings, n, query_count)
    with threadpool_limits(limits=1):
        expected = exact_neighbours(embeddings, asked)
        methods: dict[str, Method] = {}
        rows: dict[str, dict[str, Any]] = {}
        for name in names:
            began = time.perf_counter()
            methods[name] = METHODS[name](embeddings)
            rows[name] = {"method": name, "build_s": round(time.perf_counter() - began, 2)}
        for name, method in methods.items():
            tune(method, asked, expected)
            rows[name] |= {"effort": method.effort, "bytes_per_vector": round(method.size_bytes() / n, 1)}
        for name, (taken_ms, found) in _interleaved(methods, asked).items():
            rows[name] |= {
                "p50_ms": round(float(np.median(taken_ms)), 4),
                "p99_ms": round(float(np.quantile(taken_ms, 0.99)), 4),
                "min_ms": round(float(np.min(taken_ms)), 4),
                "recall_at_10": round(recall(found, expected), 4),
                "same_ids_in_order": bool((found == expected).all()),
            }
    return {
        "embeddings": n,
        "data": "uniform random" if is_uniform else "digits",
        "queries": query_count,
        "rounds": ROUNDS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "versions": {name: _version(name) for name in _PACKAGES},
        "rows": list(rows.values()),
    }


def exact_neighbours(embeddings: NDArray[np.float32], asked: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rows (m, 10) by (distance, row), in float64 over everything."""
    queries64 = asked.astype(np.float64)
    candidates: list[NDArray[np.int64]] = []
    for start in range(0, len(embeddings), 20_000):
        chunk = embeddings[start : start + 20_000].astype(np.float64)
        squares = (chunk * chunk).sum(1) - 2 * (queries64 @ chunk.T)
        kept = min(2 * K, len(chunk))  # more than K, since this product is off in its last digits
        candidates.append(np.argpartition(squares, kept - 1, axis=1)[:, :kept] + start)
    rows = np.concatenate(candidates, axis=1)
    nearest = np.empty((len(asked), K), np.int64)
    for number, query in enumerate(queries64):
        distances = np.sqrt(((embeddings[rows[number]].astype(np.float64) - query) ** 2).sum(1))
        nearest[number] = rows[number][np.lexsort((rows[number], distances))[:K]]
    return nearest


def _interleaved(
    methods: dict[str, Method], asked: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Milliseconds (rounds, m), or (m,) for slow methods, and the rows (m, 10) that each method found."""
    taken = {name: np.full((ROUNDS, len(asked)), np.nan) for name in methods}
    found = {name: np.zeros((len(asked), K), np.int64) for name in methods}
    is_slow = {name: _milliseconds(method, asked[0])[0] > SLOW_MS for name, method in methods.items()}
    with progress_line("searching", ROUNDS * len(asked), "queries") as bar:
        for round_number in range(ROUNDS):
            for start in range(0, len(asked), INTERLEAVED):
                numbers = range(start, min(start + INTERLEAVED, len(asked)))
                for name, method in methods.items():
                    for number in numbers:
                        if not is_slow[name] or number % ROUNDS == round_number:
                            taken[name][round_number, number], found[name][number] = _milliseconds(
                                method, asked[number]
                            )
                bar.update(len(numbers))
    return {name: (taken[name][~np.isnan(taken[name])], found[name]) for name in methods}


def _milliseconds(method: Method, query: NDArray[np.float32]) -> tuple[float, NDArray[np.int64]]:
    began = time.perf_counter()
    rows = method.nearest(query)
    return (time.perf_counter() - began) * 1000, rows


def _digits(settings: Settings, n: int, query_count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    encoder, folder = load_encoder(settings.encoder), settings.var_dir / "bench"
    return gallery(encoder, n, folder), queries(encoder, query_count, folder)


def _uniform(n: int, query_count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(0)
    return random.random((n, 128), np.float32), random.random((query_count, 128), np.float32)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
