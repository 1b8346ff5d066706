"""How long one exact search takes beside what people reach for, on the same embeddings in the same run, one thread."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.embeddings import gallery, queries
from bench.index_cache import IndexCache
from bench.machine import machine, versions
from bench.peers import METHODS, Asked, K, Method, recall, sweep
from bench.photo_embeddings import REAL_MAX, PhotoEmbeddings
from contract.settings import Settings
from gallery.nearest.compiled import compile_search
from gallery.nearest.search_threads import SEARCH_THREADS
from model.encoder import load_encoder
from runtime.progress import progress_line


class Kind(NamedTuple):
    """What embeddings are of; without an encoder of its own, that of the settings makes them."""

    data: str
    encoder: str = ""


DIGITS = "digits"
KINDS = {
    DIGITS: Kind("digits"),
    "contrast": Kind("digits", "contrast"),
    "report": Kind("digits", "report-autoencoder"),
    "photos": Kind("photographs", "photo"),
    "uniform": Kind("uniform random numbers"),
}
ROUNDS = 3
INTERLEAVED = 100  # queries of one method before the next one has its turn
SLOW_MS = 5.0  # a slower method is asked each query once, a third of them a round


def measure_search(
    settings: Settings,
    n: int,
    query_count: int,
    names: list[str],
    *,
    kind: str = DIGITS,
    photos: Path | None = None,
    real_max: int = REAL_MAX,
    threads: int = 1,
    search_threads: int = 1,
) -> dict[str, Any]:
    """Rows of figures, one a method, over n embeddings and queries that are not among them.

    Args:
        kind, photos, real_max: as for `search_data`.
        threads: with which approximate peers are built; what was built stays in `var_dir`/bench.
        search_threads: that one of our searches may use; all others have one.
    """
    compile_search(settings.compiled_dir)
    SEARCH_THREADS.use(search_threads)
    embeddings, asked, cache, how_made = search_data(
        settings, n, query_count, kind=kind, photos=photos, real_max=real_max, threads=threads
    )
    with threadpool_limits(limits=1):
        expected = exact_neighbours(embeddings, asked)
        methods: dict[str, Method] = {}
        rows: dict[str, dict[str, Any]] = {}
        with progress_line(f"building over {n:,}", len(names), "methods") as bar:
            for name in names:
                methods[name] = method = METHODS[name](embeddings, cache)
                rows[name] = {
                    "method": name,
                    "build_s": method.build.seconds,
                    "build_threads": method.build.threads,
                    "build_is_kept": method.build.is_kept,
                    "bytes_per_vector": round(method.size_bytes() / n, 1),
                }
                bar.update(1)
        for name, method in methods.items():
            points = sweep(method, asked, expected)
            rows[name] |= {"effort": method.effort} | ({"sweep": points} if points else {})
        for name, (taken_ms, found) in interleaved(methods, asked).items():
            per_query = taken_ms[~np.isnan(taken_ms)]
            rows[name] |= {
                # Of each round, so that one round in which the machine did something else changes nothing.
                "p50_ms": round(_median_of_rounds(taken_ms, 0.5), 4),
                "p99_ms": round(_median_of_rounds(taken_ms, 0.99), 4),
                "min_ms": round(float(np.min(per_query)), 4),
                "recall_at_10": round(recall(found, expected), 4),
                "same_ids_in_order": bool((found == expected).all()),
                "histogram": histogram(per_query),
            }
    return {
        "embeddings": n,
        "data": KINDS[kind].data,
        "how_made": how_made,
        "dimensions": embeddings.shape[1],
        "queries": query_count,
        "rounds": ROUNDS,
        "threads_searching": search_threads,
        "machine": machine(),
        "versions": versions(),
        "rows": list(rows.values()),
    }


class SearchData(NamedTuple):
    """What is searched.

    Attributes:
        embeddings: (n, d) float32.
        queries: (m, d) float32 that are not among them.
        cache: where indexes over them are kept.
        how_made: where the embeddings are not simply of what the kind says.
    """

    embeddings: NDArray[np.float32]
    queries: NDArray[np.float32]
    cache: IndexCache
    how_made: str = ""


def search_data(
    settings: Settings,
    n: int,
    query_count: int,
    *,
    kind: str = DIGITS,
    photos: Path | None = None,
    real_max: int = REAL_MAX,
    threads: int = 1,
) -> SearchData:
    """Embeddings and queries of a kind.

    Args:
        kind: of `KINDS`.
        photos: folder of photographs, for that kind; None for the two that scikit-learn brings.
        real_max: so many of those embeddings are real, and all others mixtures.
    """
    folder = settings.var_dir / "bench"
    if kind == "uniform":
        random = np.random.default_rng(0)
        embeddings, asked = random.random((n, 128), np.float32), random.random((query_count, 128), np.float32)
        return SearchData(embeddings, asked, IndexCache(folder, f"uniform-{n}", threads))
    encoder = load_encoder(KINDS[kind].encoder or settings.encoder, settings.encoders_dir)
    name = f"{kind}-{encoder.fingerprint}-{n}"
    if kind == "photos":
        made = PhotoEmbeddings(encoder, folder, photos, real_max)
        cache = IndexCache(folder, f"{name}-{made.file_count}-{real_max}", threads)
        return SearchData(made.gallery(n), made.queries(query_count), cache, made.how_made)
    return SearchData(
        gallery(encoder, n, folder), queries(encoder, query_count, folder), IndexCache(folder, name, threads)
    )


def exact_neighbours(embeddings: NDArray[np.float32], asked: NDArray[np.float32], k: int = K) -> NDArray[np.int64]:
    """Rows (m, k) by (distance, row), in float64 over everything."""
    queries64 = asked.astype(np.float64)
    candidates: list[NDArray[np.int64]] = []
    for start in range(0, len(embeddings), 20_000):
        chunk = embeddings[start : start + 20_000].astype(np.float64)
        squares = (chunk * chunk).sum(1) - 2 * (queries64 @ chunk.T)
        kept = min(2 * k, len(chunk))  # more than k, since this product is off in its last digits
        candidates.append(np.argpartition(squares, kept - 1, axis=1)[:, :kept] + start)
    rows = np.concatenate(candidates, axis=1)
    nearest = np.empty((len(asked), k), np.int64)
    for number, query in enumerate(queries64):
        distances = np.sqrt(((embeddings[rows[number]].astype(np.float64) - query) ** 2).sum(1))
        nearest[number] = rows[number][np.lexsort((rows[number], distances))[:k]]
    return nearest


def interleaved(
    methods: Mapping[str, Asked], asked: NDArray[np.float32]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Milliseconds (rounds, m), NaN where a slow method was not asked, and the rows (m, 10) that each method found."""
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
    return {name: (taken[name], found[name]) for name in methods}


def histogram(taken_ms: NDArray[np.float64]) -> dict[str, list[float]]:
    """How often a search took how long, in 60 steps of equal ratio."""
    edges = np.geomspace(taken_ms.min() * 0.999, taken_ms.max() * 1.001, 61)
    return {"edges_ms": [float(f"{edge:.4g}") for edge in edges], "counts": np.histogram(taken_ms, edges)[0].tolist()}


def _median_of_rounds(taken_ms: NDArray[np.float64], quantile: float) -> float:
    return float(np.median(np.nanquantile(taken_ms, quantile, axis=1)))


def _milliseconds(method: Asked, query: NDArray[np.float32]) -> tuple[float, NDArray[np.int64]]:
    began = time.perf_counter()
    rows = method.nearest(query)
    return (time.perf_counter() - began) * 1000, rows
