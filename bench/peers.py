"""What people use to find nearest neighbours, each behind the same three calls and held to one thread."""

import importlib.util
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.index_cache import Build, IndexCache
from gallery.nearest.neighbours import build_neighbours, load_neighbours
from gallery.nearest.tree import frozen

K = 10
RECALL_MIN = 0.996  # to which approximate peers are tuned
EFFORTS = (16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)


class Asked(Protocol):
    """What can be asked for neighbours."""

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers (10,) of the nearest, nearest first, for a query (d,)."""


class Method(Asked, Protocol):
    """One way to search. It is built from embeddings (n, d) float32; `effort` is null where there is nothing to tune."""

    effort: int | None
    build: Build

    def size_bytes(self) -> int:
        """All that it keeps, the embeddings included."""


class Lookalike:
    """Ours: built, saved, and mapped as the API does."""

    effort: int | None = None

    def __init__(self, embeddings: NDArray[np.float32], _cache: IndexCache) -> None:
        # Loads scikit-learn; the others' libraries are loaded before their clocks start, too.
        build_neighbours(embeddings[:1000])
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            build_neighbours(embeddings).save(Path(name))
            self._size_bytes = sum(path.stat().st_size for path in Path(name).iterdir())
            self._neighbours = load_neighbours(Path(name))  # what is mapped stays when the folder goes
        self.build = _now(began)
        self._live = frozen(np.ones(len(embeddings), np.bool_))

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        return self._neighbours.nearest(query, K, self._live)[1]

    def size_bytes(self) -> int:
        """See `Method`."""
        return self._size_bytes


class SklearnKDTree:
    """`sklearn.neighbors.KDTree` over the embeddings."""

    effort: int | None = None

    def __init__(self, embeddings: NDArray[np.float32], _cache: IndexCache) -> None:
        from sklearn.neighbors import KDTree

        began = time.perf_counter()
        self._tree = KDTree(embeddings)
        self.build = _now(began)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        rows: NDArray[np.int64] = self._tree.query(query[None], k=K, return_distance=False)[0]
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return sum(np.asarray(array).nbytes for array in self._tree.get_arrays())


class Numpy:
    """One float32 product and `argpartition`."""

    effort: int | None = None

    def __init__(self, embeddings: NDArray[np.float32], _cache: IndexCache) -> None:
        began = time.perf_counter()
        self._embeddings = embeddings
        self._squared_norms = np.einsum("ij,ij->i", embeddings, embeddings)
        self.build = _now(began)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        squares = self._squared_norms - 2 * (self._embeddings @ query)
        rows = np.argpartition(squares, K)[:K]
        return rows[np.argsort(squares[rows])]

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._embeddings.nbytes + self._squared_norms.nbytes)


class FaissFlat:
    """FAISS: `IndexFlatL2`."""

    effort: int | None = None

    def __init__(self, embeddings: NDArray[np.float32], _cache: IndexCache) -> None:
        import faiss

        faiss.omp_set_num_threads(1)
        began = time.perf_counter()
        self._index = faiss.IndexFlatL2(embeddings.shape[1])
        self._index.add(embeddings)
        self.build = _now(began)
        self._size_bytes = embeddings.nbytes

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        rows: NDArray[np.int64] = self._index.search(query[None], K)[1][0]
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._size_bytes)


class FaissHnsw:
    """FAISS: HNSW with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32], cache: IndexCache) -> None:
        import faiss

        self.effort: int | None = EFFORTS[0]
        self._index: Any = faiss.IndexHNSWFlat(embeddings.shape[1], 16)
        self._index.hnsw.efConstruction = 200

        def load(path: str) -> None:
            self._index = faiss.read_index(path)

        faiss.omp_set_num_threads(cache.threads)
        self.build = cache.built(
            "faiss-hnsw", lambda: self._index.add(embeddings), lambda path: faiss.write_index(self._index, path), load
        )
        faiss.omp_set_num_threads(1)
        self._size_bytes = int(faiss.serialize_index(self._index).nbytes)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        self._index.hnsw.efSearch = self.effort
        rows: NDArray[np.int64] = self._index.search(query[None], K)[1][0]
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return self._size_bytes


class Hnswlib:
    """hnswlib with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32], cache: IndexCache) -> None:
        import hnswlib

        self.effort: int | None = EFFORTS[0]
        self._set = 0
        self._index = hnswlib.Index(space="l2", dim=embeddings.shape[1])

        def build() -> None:
            self._index.init_index(max_elements=len(embeddings), M=16, ef_construction=200, random_seed=1)
            self._index.add_items(embeddings, num_threads=cache.threads)

        self.build = cache.built("hnswlib", build, self._index.save_index, self._index.load_index)
        self._index.set_num_threads(1)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        if self.effort != self._set:
            self._index.set_ef(self.effort)
            self._set = self.effort or 0
        rows: NDArray[np.int64] = self._index.knn_query(query, k=K, num_threads=1)[0][0].astype(np.int64)
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._index.index_file_size())


class Usearch:
    """usearch with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32], cache: IndexCache) -> None:
        from usearch.index import Index

        self.effort: int | None = EFFORTS[0]
        self._index: Any = Index(
            ndim=embeddings.shape[1], metric="l2sq", dtype="f32", connectivity=16, expansion_add=200
        )

        def build() -> None:
            keys = np.arange(len(embeddings), dtype=np.uint64)
            self._index.add(keys, embeddings, threads=cache.threads)

        self.build = cache.built("usearch", build, self._index.save, self._index.load)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        self._index.expansion_search = self.effort
        rows: NDArray[np.int64] = np.asarray(self._index.search(query, K, threads=1).keys).astype(np.int64)
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._index.memory_usage)


METHODS: dict[str, Callable[[NDArray[np.float32], IndexCache], Method]] = {
    "lookalike": Lookalike,
    "sklearn-kdtree": SklearnKDTree,
    "numpy": Numpy,
    "faiss-flat": FaissFlat,
    "faiss-hnsw": FaissHnsw,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}


def installed_methods() -> list[str]:
    """Those whose library is installed."""
    needed = {"faiss-flat": "faiss", "faiss-hnsw": "faiss", "hnswlib": "hnswlib", "usearch": "usearch"}
    return [name for name in METHODS if name not in needed or importlib.util.find_spec(needed[name])]


def sweep(method: Method, queries: NDArray[np.float32], expected: NDArray[np.int64]) -> list[dict[str, float]]:
    """Recall and time of an approximate method at each effort; leaves it the least one that reaches `RECALL_MIN`."""
    points: list[dict[str, float]] = []
    chosen: int | None = None
    for effort in EFFORTS if method.effort is not None else ():
        method.effort = effort
        taken_ms, found = [], []
        for query in queries:
            began = time.perf_counter()
            found.append(method.nearest(query))
            taken_ms.append((time.perf_counter() - began) * 1000)
        reached = recall(np.stack(found), expected)
        points.append({"effort": effort, "p50_ms": round(float(np.median(taken_ms)), 4), "recall": round(reached, 4)})
        if chosen is None and reached >= RECALL_MIN:
            chosen = effort
    if points:
        method.effort = chosen or EFFORTS[-1]
    return points


def recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """Share of the rows in `expected` (m, 10) that are in the same line of `found`, in any order."""
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    return sum(len(set(mine) & set(true)) for mine, true in pairs) / expected.size


def _now(began: float) -> Build:
    return Build(round(time.perf_counter() - began, 2), 1, is_kept=False)
