"""Embeddings in a table of Cassandra with its own vector index: what writing and searching cost there."""

import time
from types import TracebackType
from typing import Any

import numpy as np
from cassandra.concurrent import execute_concurrent_with_args
from numpy.typing import NDArray

from bench.processor_time import pids_of, processor_time
from contract.settings import Settings
from gallery.store.session import CONCURRENT_REQUESTS, CassandraSession

TABLE = "vectors_measured"
CANDIDATES = 100
INDEX_TIMEOUT_S = 600.0


class VectorTable:
    """The table of one keyspace, made where it is missing.

    Args:
        servers: settings of the servers, which this process may ask for their processor time.
    """

    def __init__(self, servers: Settings, keyspace: str, dimensions: int) -> None:
        self._servers = servers
        self._dimensions = dimensions
        self._session = CassandraSession.connect(servers.model_copy(update={"cassandra_keyspace": keyspace}))

    def __enter__(self) -> "VectorTable":
        with self._session.asked("making a table of vectors") as driver:
            driver.execute(
                f"CREATE TABLE IF NOT EXISTS {TABLE} (bucket int, id bigint, embedding vector<float, {self._dimensions}>, "
                "PRIMARY KEY (bucket, id))"
            )
            driver.execute(
                f"CREATE CUSTOM INDEX IF NOT EXISTS {TABLE}_ann ON {TABLE} (embedding) USING 'StorageAttachedIndex' "
                "WITH OPTIONS = {'similarity_function': 'EUCLIDEAN'}"
            )
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._session.close()

    def fill(self, embeddings: NDArray[np.float32]) -> dict[str, Any]:
        """Write (n, d) float32, 8,192 rows a partition; what a row took of Cassandra's processor time, the index's graph included."""
        insert = self._session.prepare(f"INSERT INTO {TABLE} (bucket, id, embedding) VALUES (?, ?, ?)")
        rows = ((number >> 13, number, embedding.tolist()) for number, embedding in enumerate(embeddings))
        began = time.perf_counter()
        with (
            processor_time(pids_of(self._servers, "servers")) as taken_s,
            self._session.asked("writing vectors") as driver,
        ):
            execute_concurrent_with_args(driver, insert, rows, concurrency=CONCURRENT_REQUESTS)
        wall_s = time.perf_counter() - began
        return {
            "count": len(embeddings),
            "written_per_s": round(len(embeddings) / wall_s, 1),
            "cassandra_us_per_vector": round(taken_s["cassandra"] * 1e6 / len(embeddings), 1),
        }

    def search(self, queries: NDArray[np.float32]) -> dict[str, Any]:
        """The nearest 100 of each query, one after another: milliseconds, and Cassandra's processor time."""
        select = self._session.prepare(
            f"SELECT id, embedding FROM {TABLE} ORDER BY embedding ANN OF ? LIMIT {CANDIDATES}"
        )
        taken_ms = []
        with self._session.asked("searching vectors") as driver:
            for query in queries[:20]:
                list(driver.execute(select, (query.tolist(),)))
            with processor_time(pids_of(self._servers, "servers")) as taken_s:
                for query in queries:
                    began = time.perf_counter()
                    list(driver.execute(select, (query.tolist(),)))
                    taken_ms.append((time.perf_counter() - began) * 1000)
        return {
            "candidates": CANDIDATES,
            "search_p50_ms": round(float(np.median(taken_ms)), 2),
            "search_p99_ms": round(float(np.quantile(taken_ms, 0.99)), 2),
            "cassandra_us_per_search": round(taken_s["cassandra"] * 1e6 / len(queries), 1),
        }
