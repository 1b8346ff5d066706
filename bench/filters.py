"""What a filter costs: our search with and without one, beside the local modes of Qdrant and LanceDB with the same filters.

One base of digits, with three values as metadata: a random number, the place in the order of distances to the mean of all sevens
(so that what matches lies together, and far from most queries), and the label. Every answer is compared with brute force.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.machine import machine, versions
from bench.peers import K
from bench.search import exact_neighbours, search_data
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.filters import parse_filter
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.nearest.compiled import compile_search
from gallery.store.rows import FeedRow
from model import mnist
from runtime.progress import progress_line

ROUNDS = 3
SHARES = (1.0, 0.1, 0.01, 0.001)
INTERLEAVED = 50  # queries of one method before the next one has its turn
# A method that is slower is asked so few queries a round.
SLOW_MS = {5.0: 10, 500.0: 1}
FIRST_SEARCHES = 20
BATCH = 2000
LOG = "bench:filters"


# By key, the value of each row.
Values = dict[str, NDArray[Any]]


class Case(NamedTuple):
    """One filter: `key` is below `share`, or without a share equals the label 7."""

    kind: str
    key: str
    share: float | None

    def matching(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Rows that match, of the key's values by row."""
        return np.flatnonzero(values == 7 if self.share is None else values < self.share)

    def as_json(self) -> dict[str, Any]:
        """In Qdrant's form."""
        if self.share is None:
            return {"must": [{"key": self.key, "match": {"value": 7}}]}
        return {"must": [{"key": self.key, "range": {"lt": self.share}}]}

    def as_sql(self) -> str:
        """In LanceDB's form."""
        return f"{self.key} = 7" if self.share is None else f"{self.key} < {self.share}"


CASES = [
    *(Case(f"random {share:g}", "random", share) for share in SHARES),
    *(Case(f"correlated {share:g}", "near", share) for share in SHARES),
    Case("label 7", "label", None),
]


class Filtering(Protocol):
    """What is searched, with the filter of a case or with none."""

    def nearest(self, query: NDArray[np.float32], case: Case | None) -> list[int]:
        """Rows of the ten nearest, nearest first."""


class _Lookalike:
    def __init__(self, folder: Path, embeddings: NDArray[np.float32], values: Values) -> None:
        writer = Writer(folder, "bench")
        writer.set_logs([LOG])
        told = [json.dumps(each) for each in _told(values)]
        for start in range(0, len(embeddings), BATCH):
            writer.stage(writer.fold.add(0, 0, _feed_rows(start, embeddings[start : start + BATCH], told)))
        writer.publish()
        build_base(folder, generation_name=writer.current_name(), base_name=writer.next_base_name())
        writer.replace_base(writer.next_base_name(), len(embeddings))
        writer.close()
        snapshot = Reader(folder, fingerprint=None).current()
        assert snapshot is not None
        self.snapshot = snapshot
        self._filters = {case: parse_filter(json.dumps(case.as_json())) for case in CASES}

    def nearest(self, query: NDArray[np.float32], case: Case | None) -> list[int]:
        """See `Filtering`."""
        selection = None if case is None else self.snapshot.filtered(self._filters[case])
        return [int(match.image_id) for match in self.snapshot.search(query, K, selection=selection)]

    def first_ms(self, query: NDArray[np.float32]) -> float:
        """Median of searches whose filter nobody has asked before."""
        taken = []
        for number in range(FIRST_SEARCHES):
            text = json.dumps(Case("", "random", 0.1 + number / 1e6).as_json())
            began = time.perf_counter()
            self.snapshot.search(query, K, selection=self.snapshot.filtered(parse_filter(text)))
            taken.append((time.perf_counter() - began) * 1000)
        return float(np.median(taken))


class _Qdrant:
    def __init__(self, _folder: Path, embeddings: NDArray[np.float32], values: Values) -> None:
        from qdrant_client import QdrantClient, models

        self._models = models
        self._client = QdrantClient(":memory:")
        params = models.VectorParams(size=embeddings.shape[1], distance=models.Distance.EUCLID)
        self._client.create_collection("digits", vectors_config=params)
        told = _told(values)
        for start in range(0, len(embeddings), BATCH):
            stop = min(start + BATCH, len(embeddings))
            batch = models.Batch(
                ids=list(range(start, stop)), vectors=embeddings[start:stop].tolist(), payloads=told[start:stop]
            )
            self._client.upsert("digits", batch)
        self._filters = {case: models.Filter.model_validate(case.as_json()) for case in CASES}

    def nearest(self, query: NDArray[np.float32], case: Case | None) -> list[int]:
        """See `Filtering`."""
        asked = None if case is None else self._filters[case]
        found = self._client.query_points(
            "digits", query=query.tolist(), query_filter=asked, limit=K, with_payload=False
        )
        return [int(point.id) for point in found.points]


class _LanceDB:
    def __init__(self, folder: Path, embeddings: NDArray[np.float32], values: Values) -> None:
        import lancedb
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
        columns = {"id": pa.array(np.arange(len(embeddings))), "vector": vectors}
        told = {name: pa.array(found) for name, found in values.items()}
        self._table = lancedb.connect(str(folder)).create_table("digits", pa.table(columns | told))

    def nearest(self, query: NDArray[np.float32], case: Case | None) -> list[int]:
        """See `Filtering`."""
        search = self._table.search(query).distance_type("l2").limit(K).select(["id", "_distance"])
        found = (search if case is None else search.where(case.as_sql(), prefilter=True)).to_arrow()
        return [int(number) for number in found["id"].to_pylist()]


_PEERS: dict[str, Callable[..., Filtering]] = {"qdrant-local": _Qdrant, "lancedb": _LanceDB}


def measure_filters(settings: Settings, n: int, query_count: int) -> dict[str, Any]:
    """Rows of figures, one a method and filter, over n digits; a peer that cannot be imported or fails has a row that says how."""
    compile_search(settings.compiled_dir)
    embeddings, asked, *_ = search_data(settings, n, query_count)
    values = _values(embeddings)
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-") as name, threadpool_limits(limits=1):
        ours = _Lookalike(Path(name) / "lookalike", embeddings, values)
        methods: dict[str, Filtering] = {"lookalike": ours}
        rows: list[dict[str, Any]] = []
        for peer, make in _PEERS.items():
            try:
                methods[peer] = make(Path(name) / peer, embeddings, values)
            except Exception as error:  # noqa: BLE001 - whatever another system raises is a result of this measurement
                rows.append({"method": peer, "unavailable": f"{type(error).__name__}: {error}"[:500]})
        with progress_line("filters", len(CASES)) as bar:
            for case in CASES:
                rows += _measure(case, methods, embeddings, asked, case.matching(values[case.key]))
                bar.update(1)
        first_ms = ours.first_ms(asked[0])
    return {
        "embeddings": n,
        "data": "digits",
        "queries": query_count,
        "rounds": ROUNDS,
        "first_search_with_a_filter_ms": round(first_ms, 3),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _measure(
    case: Case,
    methods: dict[str, Filtering],
    embeddings: NDArray[np.float32],
    asked: NDArray[np.float32],
    matching: NDArray[np.int64],
) -> list[dict[str, Any]]:
    """The rows of one case. Ours without the filter takes its turns among the others."""
    expected = np.full((len(asked), K), -1, np.int64)
    expected[:, : len(matching)] = matching[exact_neighbours(embeddings[matching], asked, min(K, len(matching)))]
    turns: dict[str, tuple[Filtering, Case | None]] = {"lookalike, no filter": (methods["lookalike"], None)}
    turns |= {name: (method, case) for name, method in methods.items()}
    taken: dict[str, list[list[float]]] = {name: [[] for _ in range(ROUNDS)] for name in turns}
    found = {name: np.full((len(asked), K), -1, np.int64) for name in turns}
    limits = {name: _queries_a_round(turn, asked) for name, turn in turns.items()}
    for round_number in range(ROUNDS):
        for start in range(0, len(asked), INTERLEAVED):
            for name, turn in turns.items():
                for number in range(start, min(start + INTERLEAVED, len(asked))):
                    slow_number = number - limits[name] * round_number
                    if limits[name] == len(asked) or 0 <= slow_number < limits[name]:
                        took_ms, rows = _timed(*turn, asked[number])
                        taken[name][round_number].append(took_ms)
                        found[name][number, : len(rows)] = rows
    unfiltered_ms = _of_rounds(taken["lookalike, no filter"], 0.5)
    told = []
    for name in methods:
        numbers = range(min(len(asked), limits[name] * ROUNDS))
        p50_ms = _of_rounds(taken[name], 0.5)
        told.append(
            {
                "method": f"{name}, {case.kind}",
                "matched": len(matching),
                "p50_ms": round(p50_ms, 4),
                "p99_ms": round(_of_rounds(taken[name], 0.99), 4),
                "unfiltered_p50_ms": round(unfiltered_ms, 4),
                "times_unfiltered": round(p50_ms / unfiltered_ms, 3),
                "searches": sum(map(len, taken[name])),
                "recall_at_10": round(_recall(found[name][numbers], expected[numbers]), 4),
                "same_ids_in_order": bool((found[name][numbers] == expected[numbers]).all()),
            }
        )
    return told


def _queries_a_round(turn: tuple[Filtering, Case | None], asked: NDArray[np.float32]) -> int:
    fastest_ms = min(_timed(*turn, query)[0] for query in asked[:3])
    return min([len(asked), *(count for slow_ms, count in SLOW_MS.items() if fastest_ms > slow_ms)])


def _recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """Share of the expected rows that were found; -1 stands where there is none."""
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    hits = sum(len({*rows} & {*wanted} - {-1}) for rows, wanted in pairs)
    return hits / max(1, int((expected >= 0).sum()))


def _values(embeddings: NDArray[np.float32]) -> Values:
    """Metadata by key, for each row; as many match below a share as that share of all."""
    n = len(embeddings)
    labels = np.resize(mnist.labels("train"), n)  # deformed copies follow in the order of their originals
    apart = np.linalg.norm(embeddings - embeddings[labels == 7].mean(0), axis=1)
    near = np.empty(n)
    near[np.argsort(apart, kind="stable")] = np.arange(n) / n
    return {
        "random": np.random.default_rng(7).permutation(n) / n,
        "near": near,
        "label": labels.astype(np.int64),
    }


def _told(values: Values) -> list[dict[str, Any]]:
    """Metadata of each row."""
    return [dict(zip(values, row, strict=True)) for row in zip(*(v.tolist() for v in values.values()), strict=True)]


def _feed_rows(start: int, embeddings: NDArray[np.float32], told: Sequence[str]) -> list[FeedRow]:
    return [
        FeedRow(
            RecordKey(LOG, 0, row),
            row,
            "put",
            "",
            f"{row:08}",
            embedding.astype("<f4").tobytes(),
            row,
            metadata=told[row],
        )
        for row, embedding in enumerate(embeddings, start)
    ]


def _of_rounds(taken_ms: list[list[float]], quantile: float) -> float:
    return float(np.median([np.quantile(each, quantile) for each in taken_ms if each]))


def _timed(method: Filtering, case: Case | None, query: NDArray[np.float32]) -> tuple[float, list[int]]:
    began = time.perf_counter()
    rows = method.nearest(query, case)
    return (time.perf_counter() - began) * 1000, rows
