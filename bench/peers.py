"""What people use to find nearest neighbours, each behind the same three calls and held to one thread."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gallery.neighbours import build_neighbours, load_neighbours
from gallery.tree import frozen

K = 10
RECALL_MIN = 0.996  # to which approximate peers are tuned
_EF = (16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)


class Method(Protocol):
    """One way to search. It is built from embeddings (n, d) float32; `effort` is null where there is nothing to tune."""

    effort: int | None

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers (10,) of the nearest, nearest first, for a query (d,)."""

    def size_bytes(self) -> int:
        """All that it keeps, the embeddings included."""


class Lookalike:
    """Ours: built, saved, and mapped as the API does."""

    effort: int | None = None

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        with tempfile.TemporaryDirectory() as name:
            build_neighbours(embeddings).save(Path(name))
            self._size_bytes = sum(path.stat().st_size for path in Path(name).iterdir())
            self._neighbours = load_neighbours(Path(name))  # what is mapped stays when the folder goes
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

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        from sklearn.neighbors import KDTree

        self._tree = KDTree(embeddings)

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

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        self._embeddings = embeddings
        self._squared_norms = np.einsum("ij,ij->i", embeddings, embeddings)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        squares = self._squared_norms - 2 * (self._embeddings @ query)
        rows = np.argpartition(squares, K)[:K]
        return rows[np.argsort(squares[rows])]

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._embeddings.nbytes + self._squared_norms.nbytes)


class Faiss:
    """FAISS: `IndexFlatL2`, or HNSW with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32], *, flat: bool) -> None:
        import faiss

        self._faiss = faiss
        faiss.omp_set_num_threads(1)
        self.effort: int | None = None if flat else _EF[0]
        self._index = faiss.IndexFlatL2(embeddings.shape[1]) if flat else faiss.IndexHNSWFlat(embeddings.shape[1], 16)
        if not flat:
            self._index.hnsw.efConstruction = 200
        self._index.add(embeddings)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        if self.effort is not None:
            self._index.hnsw.efSearch = self.effort
        rows: NDArray[np.int64] = self._index.search(query[None], K)[1][0]
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._faiss.serialize_index(self._index).nbytes)


class Hnswlib:
    """hnswlib with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        import hnswlib

        self.effort: int | None = _EF[0]
        self._set = 0
        self._index = hnswlib.Index(space="l2", dim=embeddings.shape[1])
        self._index.init_index(max_elements=len(embeddings), M=16, ef_construction=200, random_seed=1)
        self._index.set_num_threads(1)
        self._index.add_items(embeddings, num_threads=1)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        if self.effort is not None and self._set != self.effort:
            self._index.set_ef(self.effort)
            self._set = self.effort
        rows: NDArray[np.int64] = self._index.knn_query(query, k=K, num_threads=1)[0][0].astype(np.int64)
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._index.index_file_size())


class Usearch:
    """usearch with 16 links and 200 candidates while building."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        from usearch.index import Index

        self.effort: int | None = _EF[0]
        self._index: Any = Index(
            ndim=embeddings.shape[1], metric="l2sq", dtype="f32", connectivity=16, expansion_add=200
        )
        self._index.add(np.arange(len(embeddings), dtype=np.uint64), embeddings, threads=1)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """See `Method`."""
        self._index.expansion_search = self.effort
        rows: NDArray[np.int64] = np.asarray(self._index.search(query, K, threads=1).keys).astype(np.int64)
        return rows

    def size_bytes(self) -> int:
        """See `Method`."""
        return int(self._index.memory_usage)


METHODS: dict[str, Callable[[NDArray[np.float32]], Method]] = {
    "lookalike": Lookalike,
    "sklearn-kdtree": SklearnKDTree,
    "numpy": Numpy,
    "faiss-flat": lambda embeddings: Faiss(embeddings, flat=True),
    "faiss-hnsw": lambda embeddings: Faiss(embeddings, flat=False),
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}


def tune(method: Method, queries: NDArray[np.float32], expected: NDArray[np.int64]) -> None:
    """Give an approximate method the least effort that reaches the recall which is asked for."""
    for effort in _EF if method.effort is not None else ():
        method.effort = effort
        if recall(np.stack([method.nearest(query) for query in queries]), expected) >= RECALL_MIN:
            return


def recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """Share of the rows in `expected` (m, 10) that are in the same line of `found`, in any order."""
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    return sum(len(set(mine) & set(true)) for mine, true in pairs) / expected.size
