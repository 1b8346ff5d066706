"""Whole embedded systems beside ours: put embeddings in, find a new one, search. Each as it comes, in its default mode.

Ours is the index folder alone, through the indexer's writer and the API's reader, without Kafka and Cassandra: the others have
nothing like them; `python -m bench freshness` measures the whole way from Kafka on.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.embeddings import deformed
from bench.machine import machine, versions
from bench.peers import K, recall
from bench.search import exact_neighbours, histogram, search_data
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.nearest.compiled import compile_search
from gallery.nearest.neighbours import build_neighbours
from gallery.store.rows import FeedRow
from model import mnist
from model.encoder import load_encoder
from runtime.progress import progress_line

BATCH = 2000
FOUND_TIMEOUT_S = 30.0
LOG = "bench:systems"


class System(Protocol):
    """Something that takes embeddings with a number each and finds them again."""

    mode: str
    is_durable: str

    def add(self, numbers: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """Insert embeddings (n, 128); returns when the system says that it has them."""

    def settle(self) -> None:
        """What is done once after a bulk of inserts, and counts as inserting."""

    def nearest(self, query: NDArray[np.float32]) -> list[int]:
        """Numbers of the ten nearest, nearest first, in the newest state."""

    def close(self) -> None:
        """Let go of everything."""


class Lookalike:
    """Ours: an insert is folded, appended to the tail, synced and published; a search loads the newest generation first."""

    mode = "exact"
    is_durable = "tail file synced before an insert returns"

    def __init__(self, folder: Path, settings: Settings) -> None:
        compile_search(settings.compiled_dir)
        # Loads scikit-learn, as the others' libraries are loaded here.
        build_neighbours(np.random.default_rng(0).random((1000, 128), np.float32))
        self._folder = folder
        self._writer = Writer(folder, "bench")
        self._writer.set_logs([LOG])
        self._reader = Reader(folder, fingerprint=None)
        self._offset = 0

    def add(self, numbers: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """See `System`."""
        rows = []
        for number, embedding in zip(numbers, embeddings, strict=True):
            offset = self._offset
            rows.append(
                FeedRow(
                    RecordKey(LOG, 0, offset),
                    offset,
                    "put",
                    "",
                    f"{number:08}",
                    embedding.astype("<f4").tobytes(),
                    offset,
                )
            )
            self._offset += 1
        self._writer.stage(self._writer.fold.add(0, 0, rows))
        self._writer.publish()

    def settle(self) -> None:
        """Build the base, which the indexer has done by a child process while inserts go on."""
        manifest, name = self._writer.manifest, self._writer.next_base_name()
        build_base(self._folder, generation_name=self._writer.current_name(), base_name=name)
        self._writer.replace_base(name, manifest.tail.entries)

    def nearest(self, query: NDArray[np.float32]) -> list[int]:
        """See `System`."""
        snapshot = self._reader.current()
        assert snapshot is not None
        return [int(match.image_id) for match in snapshot.search(query, K)]

    def close(self) -> None:
        """See `System`."""
        self._writer.close()


class LanceDB:
    """A table without an index, which is what one has until one asks for an index: exact, all of it is read."""

    mode = "exact (no index, the default)"
    is_durable = "files written, not synced"

    def __init__(self, folder: Path, _settings: Settings) -> None:
        import lancedb
        import pyarrow

        self._pyarrow = pyarrow
        vector = pyarrow.list_(pyarrow.float32(), 128)
        self._schema = pyarrow.schema([("id", pyarrow.int64()), ("vector", vector)])
        self._table = lancedb.connect(str(folder)).create_table("embeddings", schema=self._schema)

    def add(self, numbers: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """See `System`."""
        vectors = self._pyarrow.FixedSizeListArray.from_arrays(self._pyarrow.array(embeddings.ravel()), 128)
        self._table.add(self._pyarrow.table([self._pyarrow.array(numbers), vectors], schema=self._schema))

    def settle(self) -> None:
        """Compact the many small files of the bulk, as its guide says."""
        self._table.optimize()

    def nearest(self, query: NDArray[np.float32]) -> list[int]:
        """See `System`."""
        found = self._table.search(query).distance_type("l2").limit(K).to_arrow()
        return [int(number) for number in found["id"].to_pylist()]

    def close(self) -> None:
        """Nothing is held."""


class Chroma:
    """A persistent collection: HNSW with its default 16 links, 100 candidates while building and while searching."""

    mode = "approximate (HNSW, the default)"
    is_durable = "SQLite's log"

    def __init__(self, folder: Path, _settings: Settings) -> None:
        import chromadb

        self._client = chromadb.PersistentClient(str(folder), chromadb.Settings(anonymized_telemetry=False))
        self._collection = self._client.create_collection(
            "embeddings", configuration={"hnsw": {"space": "l2"}}, embedding_function=None
        )

    def add(self, numbers: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """See `System`."""
        self._collection.add(ids=[str(number) for number in numbers], embeddings=embeddings)

    def settle(self) -> None:
        """There is nothing to do."""

    def nearest(self, query: NDArray[np.float32]) -> list[int]:
        """See `System`."""
        found = self._collection.query(query_embeddings=query[None], n_results=K, include=[])
        return [int(number) for number in found["ids"][0]]

    def close(self) -> None:
        """Nothing can be closed."""


class MilvusLite:
    """A collection in one local file, with the index that it takes by default."""

    mode = "AUTOINDEX (the default)"
    is_durable = "the local file's log"

    def __init__(self, folder: Path, _settings: Settings) -> None:
        from pymilvus import MilvusClient

        self._client = MilvusClient(str(folder / "milvus.db"))
        self._client.create_collection("embeddings", dimension=128, metric_type="L2", consistency_level="Strong")

    def add(self, numbers: Sequence[int], embeddings: NDArray[np.float32]) -> None:
        """See `System`."""
        rows = [{"id": number, "vector": row.tolist()} for number, row in zip(numbers, embeddings, strict=True)]
        self._client.insert("embeddings", rows)

    def settle(self) -> None:
        """Write what is in memory to the file."""
        self._client.flush("embeddings")

    def nearest(self, query: NDArray[np.float32]) -> list[int]:
        """See `System`."""
        return [int(hit["id"]) for hit in self._client.search("embeddings", data=[query.tolist()], limit=K)[0]]

    def close(self) -> None:
        """See `System`."""
        self._client.close()


SYSTEMS: dict[str, Callable[[Path, Settings], System]] = {
    "lookalike": Lookalike,
    "lancedb": LanceDB,
    "chroma": Chroma,
    "milvus-lite": MilvusLite,
}


def measure_systems(settings: Settings, n: int, query_count: int, inserts: int, names: list[str]) -> dict[str, Any]:
    """A row a system over n digits; one that cannot be imported or fails has a row that says how.

    Args:
        inserts: further images, one at a time, each timed from the call that inserts it until a search has it as its first hit.
    """
    embeddings, asked, *_ = search_data(settings, n, query_count)
    encoder = load_encoder(settings.encoder, settings.encoders_dir)
    new = np.stack([_new_embedding(encoder, number) for number in range(inserts)])
    expected = exact_neighbours(embeddings, asked)
    rows = []
    for name in names:
        try:
            rows.append({"method": name} | _measure(SYSTEMS[name], settings, embeddings, asked, expected, new, name))
        except Exception as error:  # noqa: BLE001 - whatever another system raises is a result of this measurement
            rows.append({"method": name, "unavailable": f"{type(error).__name__}: {error}"[:500]})
    return {
        "embeddings": n,
        "data": "digits",
        "queries": query_count,
        "batch": BATCH,
        "single_inserts": inserts,
        "threads": "each system's default",
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _measure(
    make: Callable[[Path, Settings], System],
    settings: Settings,
    embeddings: NDArray[np.float32],
    asked: NDArray[np.float32],
    expected: NDArray[np.int64],
    new: NDArray[np.float32],
    name: str,
) -> dict[str, Any]:
    n = len(embeddings)
    with tempfile.TemporaryDirectory(prefix="lookalike-bench-", ignore_cleanup_errors=True) as folder:
        system = make(Path(folder), settings)
        began = time.perf_counter()
        with progress_line(f"{name}: inserting", n) as bar:
            for start in range(0, n, BATCH):
                stop = min(start + BATCH, n)
                system.add(range(start, stop), embeddings[start:stop])
                bar.update(stop - start)
        inserted_s = time.perf_counter() - began
        system.settle()
        settled_s = time.perf_counter() - began
        system.nearest(asked[0])
        taken_ms, found = np.empty(len(asked)), np.zeros((len(asked), K), np.int64)
        for number, query in enumerate(asked):
            began = time.perf_counter()
            numbers = system.nearest(query)
            taken_ms[number] = (time.perf_counter() - began) * 1000
            found[number, : len(numbers)] = numbers
        found_ms = [_until_found_ms(system, n + number, embedding) for number, embedding in enumerate(new)]
        size_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        system.close()
    return {
        "mode": system.mode,
        "is_durable": system.is_durable,
        "build_s": round(settled_s, 2),
        "inserted_per_s": round(n / inserted_s, 1),
        "inserted_and_settled_per_s": round(n / settled_s, 1),
        "p50_ms": round(float(np.median(taken_ms)), 3),
        "p99_ms": round(float(np.quantile(taken_ms, 0.99)), 3),
        "recall_at_10": round(recall(found, expected), 4),
        "same_ids_in_order": bool((found == expected).all()),
        "insert_to_found_p50_ms": round(float(np.median(found_ms)), 3),
        "insert_to_found_p99_ms": round(float(np.quantile(found_ms, 0.99)), 3),
        "bytes_per_vector": round(size_bytes / (n + len(new)), 1),
        "histogram": histogram(taken_ms),
    }


def _until_found_ms(system: System, number: int, embedding: NDArray[np.float32]) -> float:
    began = time.perf_counter()
    system.add([number], embedding[None])
    while system.nearest(embedding)[:1] != [number]:
        if time.perf_counter() - began > FOUND_TIMEOUT_S:
            raise TimeoutError(f"what was inserted is not the first hit after {FOUND_TIMEOUT_S:.0f} s")
    return (time.perf_counter() - began) * 1000


def _new_embedding(encoder: Any, number: int) -> NDArray[np.float32]:
    """Of a deformed test digit, which is in no gallery."""
    digit = deformed(mnist.images("test")[number], np.random.default_rng(10_000_000 + number))
    embedding: NDArray[np.float32] = encoder.embed(digit[..., None].astype(np.float32) / np.float32(255))
    return embedding
