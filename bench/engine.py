"""The engine cassandra beside the exact one over the same embeddings: recall, what a search and what writing take, what an API holds."""

import json
import threading
import time
import urllib.request
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from api.answers.efforts import Effort
from api.answers.table_searching import candidates_of
from bench.machine import machine, versions
from bench.memory import Peaks
from bench.own_pipeline import START_TIMEOUT_S, own_pipeline, own_stack, wait_for_child
from bench.peers import K, recall
from bench.processor_time import pids_of, processor_time
from bench.scenarios import STAGED, Searched, current_generation, index_folder, timed_row, with_base
from bench.search import KINDS, ROUNDS, SearchData, exact_neighbours, interleaved
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.nearest.compiled import compile_search
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.table.lease import Lease, lease_folder
from gallery.table.reader import newest_table
from gallery.table.snapshot import TableSnapshot
from gallery.table.writer import TableWriter
from model.encoder import load_encoder
from runtime.progress import progress_line
from runtime.retrying import retrying
from stack.process import start_child
from stack.programs import answers_ready, api

EFFORTS: tuple[Effort, ...] = ("normal", "high")
LOG = "bench:engine"


class SearchedTable:
    """A table, asked as the API asks it with an effort: the ids found are row numbers."""

    def __init__(self, snapshot: TableSnapshot, effort: Effort) -> None:
        self._snapshot = snapshot
        self._candidates = candidates_of(effort, K)

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers (10,) of the nearest that are found, nearest first, for a query (d,); -1 for what is missing."""
        matches = self._snapshot.nearest(query, K, candidates=self._candidates).matches
        return np.array([int(match.image_id) for match in matches] + [-1] * (K - len(matches)), np.int64)


def measure_engine(settings: Settings, data: SearchData, *, kind: str, with_memory: bool) -> dict[str, Any]:
    """Recall at 10 of each effort by brute force, and p50 beside the exact engine's, on Kafka and Cassandra of its own.

    Args:
        kind: of `bench.search.KINDS`, of which the data are.
        with_memory: also measure an API with an empty table and with this one.

    Raises:
        DependencyError: a server or the API did not start.
    """
    compile_search(settings.compiled_dir)
    encoder = KINDS[kind].encoder or settings.encoder
    changes = {"encoder": encoder, "next_encoder": "", "engine": "cassandra"}
    figures: dict[str, Any] = {
        "embeddings": len(data.embeddings),
        "data": KINDS[kind].data,
        "how_made": data.how_made,
        "dimensions": data.embeddings.shape[1],
        "queries": len(data.queries),
        "rounds": ROUNDS,
        "cassandra_heap_mib": settings.cassandra_heap_mib,
        "machine": machine(),
        "versions": versions(),
    }
    with (
        own_stack(settings, only=("servers",)) as servers,
        own_pipeline(servers.model_copy(update=changes), "engine") as own,
        closing(Store.connect(own)) as store,
    ):
        writer = _writer(own, store)
        if with_memory:
            writer.publish()
            figures["api_empty_mb"] = _api_mb(own, data.queries)
        figures |= _filled(servers, writer, data.embeddings)
        snapshot = newest_table(store, own)
        assert snapshot is not None and snapshot.count == len(data.embeddings)
        rows = _searched(snapshot, data)
        if with_memory:
            figures["api_mb"] = _api_mb(own, data.queries)
            figures["api_more_mb"] = round(figures["api_mb"] - figures["api_empty_mb"], 1)
    return figures | {"rows": rows}


def _writer(own: Settings, store: Store) -> TableWriter:
    encoder = load_encoder(own.encoder, own.encoders_dir)
    lease = Lease(store.embedding_tables, lease_folder(own.encoder_index_dir), own.kafka_topic, encoder.fingerprint)
    mine = lease.try_take()
    assert mine is not None
    writer = TableWriter(store.embedding_tables, mine, encoder.fingerprint, encoder.dimensions)
    writer.set_logs([LOG])
    writer.fold.follow(0, 0)
    return writer


def _filled(servers: Settings, writer: TableWriter, embeddings: NDArray[np.float32]) -> dict[str, Any]:
    """Write embeddings (n, d) as the indexer does what it reads of the feed; ids are row numbers."""
    n, began, stop = len(embeddings), time.perf_counter(), threading.Event()
    with progress_line("writing", n, "rows") as bar, processor_time(pids_of(servers, "servers")) as taken_s:
        for start in range(0, n, STAGED):
            part = range(start, min(start + STAGED, n))
            rows = [
                FeedRow(RecordKey(LOG, 0, row), row, "put", "", f"{row:08}", embeddings[row].tobytes(), row)
                for row in part
            ]
            # As an indexer does: Cassandra may have to write down first what it was given.
            retrying(partial(writer.prefetch, rows), "cassandra", stop)
            writer.stage(writer.fold.add(0, 0, rows))
            retrying(writer.publish, "cassandra", stop)
            bar.update(len(part))
    return {
        "written_per_s": round(n / (time.perf_counter() - began), 1),
        "cassandra_us_per_row": round(taken_s["cassandra"] * 1e6 / n, 1),
    }


def _searched(snapshot: TableSnapshot, data: SearchData) -> list[dict[str, Any]]:
    """A row for each effort and for the exact engine; they take turns."""
    with index_folder() as folder, threadpool_limits(limits=1):
        writer = with_base(folder, data.embeddings)
        methods = {f"cassandra, {effort}": SearchedTable(snapshot, effort) for effort in EFFORTS}
        found = interleaved({**methods, "exact": Searched(current_generation(folder))}, data.queries)
        expected = exact_neighbours(data.embeddings, data.queries)
        writer.close()
    candidates = {f"cassandra, {effort}": candidates_of(effort, K) for effort in EFFORTS}
    exact_ms = timed_row("exact", found["exact"][0])["p50_ms"]
    rows = []
    for name, (taken_ms, ours) in found.items():
        timed = timed_row(name, taken_ms)
        more = {"candidates": candidates[name]} if name in candidates else {}
        rows.append(
            timed
            | {"recall_at_10": round(recall(ours, expected), 4), "times_exact": round(timed["p50_ms"] / exact_ms, 1)}
            | more
        )
    return rows


def _api_mb(own: Settings, queries: NDArray[np.float32]) -> float:
    """The most that an API takes that is started now, while it answers these queries, in MB."""
    child = start_child(api(own))
    try:
        wait_for_child(
            "api",
            child,
            lambda: answers_ready(own.api_address),
            timeout_s=START_TIMEOUT_S,
            lacking="It does not answer.",
        )
        peaks = Peaks({"api": child})
        for query in queries:
            body = json.dumps({"embedding": query.tolist()}).encode()
            asking = urllib.request.Request(
                f"{own.api_address}/v1/search?k={K}", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asking) as answer:
                answer.read()
        peaks.close()
        return peaks.mb()["api"]
    finally:
        child.stop(10.0)
