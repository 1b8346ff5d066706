"""Searches that are not one by one over one clean base: with a tail and deleted images, while the next base is built, in batches."""

import multiprocessing
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.machine import machine, versions
from bench.peers import K
from bench.photo_embeddings import REAL_MAX
from bench.search import DIGITS, KINDS, ROUNDS, exact_neighbours, interleaved, search_data
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.base import save_base
from gallery.generations.columns import build_columns
from gallery.generations.fold import Position
from gallery.generations.id_table import IdTable
from gallery.generations.next_base import build_base, save_merged
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Match, Snapshot
from gallery.generations.writer import Writer
from gallery.nearest.compiled import compile_search
from gallery.store.rows import FeedRow
from runtime.progress import progress_line

LOG = "bench:scenarios"
STAGED = 2048  # rows that the indexer reads at once
QUIET_S = 2.0


class Searched:
    """A generation, asked as the API asks it: the ids found are row numbers."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers (10,) of the nearest, nearest first, for a query (d,)."""
        return _rows(self._snapshot.search(query, K))

    def nearest_all(self, queries: NDArray[np.float32]) -> NDArray[np.int64]:
        """The same for each of some queries (b, d) together: (b, 10)."""
        return np.stack([_rows(matches) for matches in self._snapshot.search_all(queries, K)])


def measure_tail(
    settings: Settings,
    n: int,
    query_count: int,
    *,
    tail: float,
    deleted: float,
    kind: str = DIGITS,
    photos: Path | None = None,
    real_max: int = REAL_MAX,
) -> dict[str, Any]:
    """A generation with a part of its n images in the tail and some deleted, beside one clean base of the same images.

    Args:
        tail: share of the images that came after the base was built.
        deleted: share of all images, of base and tail alike, that were deleted then.
        kind, photos, real_max: as for `search_data`.
    """
    compile_search(settings.compiled_dir)
    embeddings, asked, _, how_made = search_data(settings, n, query_count, kind=kind, photos=photos, real_max=real_max)
    in_base = n - round(tail * n)
    gone = np.sort(np.random.default_rng(0).choice(n, round(deleted * n), replace=False))
    with index_folder() as folder, index_folder() as clean_folder, threadpool_limits(limits=1):
        writer = with_base(folder, embeddings[:in_base])
        puts = [(row, embeddings[row].tobytes()) for row in range(in_base, n)]
        append_changes(writer, [*puts, *((row, None) for row in gone.tolist())], first_offset=in_base)
        mixed = current_generation(folder)
        clean_writer = Writer(clean_folder, "bench", embeddings.shape[1])
        clean_writer.set_logs([LOG])
        save_merged(mixed, clean_folder / "bases" / clean_writer.next_base_name(), horizon_ms=0)
        clean_writer.replace_base(clean_writer.next_base_name(), 0)
        clean = current_generation(clean_folder)
        found = interleaved({"tail-and-deleted": Searched(mixed), "one-clean-base": Searched(clean)}, asked)
        live = np.setdiff1d(np.arange(n), gone)
        expected = live[exact_neighbours(embeddings[live], asked)]
        writer.close()
        clean_writer.close()
    rows = [timed_row(name, taken_ms) | exactness(ours, expected) for name, (taken_ms, ours) in found.items()]
    return {
        "embeddings": n,
        "data": KINDS[kind].data,
        "how_made": how_made,
        "queries": query_count,
        "rounds": ROUNDS,
        "tail_share": tail,
        "deleted_share": deleted,
        "images_live": len(live),
        "ratio_p50": round(rows[0]["p50_ms"] / rows[1]["p50_ms"], 3),
        "ratio_p99": round(rows[0]["p99_ms"] / rows[1]["p99_ms"], 3),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def measure_batches(
    settings: Settings,
    n: int,
    query_count: int,
    together: int,
    *,
    kind: str = DIGITS,
    photos: Path | None = None,
    real_max: int = REAL_MAX,
) -> dict[str, Any]:
    """Queries so many together, beside the same queries one after the other; both take turns.

    Args:
        kind, photos, real_max: as for `search_data`.
    """
    compile_search(settings.compiled_dir)
    embeddings, asked, _, how_made = search_data(settings, n, query_count, kind=kind, photos=photos, real_max=real_max)
    expected = exact_neighbours(embeddings, asked)
    batches = range(0, query_count, together)
    one_by_one, in_batches = np.empty((2, ROUNDS, len(batches)))
    found = {"one-by-one": np.zeros_like(expected), "in-batches": np.zeros_like(expected)}
    with index_folder() as folder, threadpool_limits(limits=1):
        writer = with_base(folder, embeddings)
        searched = Searched(current_generation(folder))
        searched.nearest_all(asked[:together])  # warms up
        for round_number in range(ROUNDS):
            for number, start in enumerate(batches):
                queries, rows = asked[start : start + together], slice(start, start + together)
                began = time.perf_counter()
                found["one-by-one"][rows] = [searched.nearest(query) for query in queries]
                between = time.perf_counter()
                found["in-batches"][rows] = searched.nearest_all(queries)
                one_by_one[round_number, number] = (between - began) * 1000 / len(queries)
                in_batches[round_number, number] = (time.perf_counter() - between) * 1000 / len(queries)
        writer.close()
    return {
        "embeddings": n,
        "data": KINDS[kind].data,
        "how_made": how_made,
        "queries": query_count,
        "together": together,
        "rounds": ROUNDS,
        "times_faster": round(float(np.median(one_by_one / in_batches)), 3),
        "machine": machine(),
        "versions": versions(),
        "rows": [
            timed_row(name, taken_ms) | exactness(found[name], expected)
            for name, taken_ms in (("one-by-one", one_by_one), ("in-batches", in_batches))
        ],
    }


def measure_during_rebuild(settings: Settings, n: int, query_count: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Searches of a base of n images while the indexer's own code builds one of the same size in a child process.

    Quiet seconds and builds take turns; the ratio is that of the rounds' median p99.
    """
    compile_search(settings.compiled_dir)
    embeddings, asked, *_ = search_data(settings, n, query_count)
    quiet: list[NDArray[np.float64]] = []
    during: list[NDArray[np.float64]] = []
    builds_s: list[float] = []
    with index_folder() as folder, threadpool_limits(limits=1), progress_line("rebuilding", rounds, "rounds") as bar:
        writer = with_base(folder, embeddings)
        searched = Searched(current_generation(folder))
        answers = np.stack([searched.nearest(query) for query in asked])  # and warms up
        for _ in range(rounds):
            until = time.monotonic() + QUIET_S
            quiet.append(_search_while(searched, asked, lambda until=until: time.monotonic() < until))
            began = time.monotonic()
            child = multiprocessing.get_context("spawn").Process(
                target=build_base,
                kwargs={
                    "index_dir": folder,
                    "generation_name": writer.current_name(),
                    "base_name": "rebuilt",
                    "compiled_dir": settings.compiled_dir.resolve(),
                },
                daemon=True,
            )
            child.start()
            during.append(_search_while(searched, asked, child.is_alive))
            child.join()
            builds_s.append(round(time.monotonic() - began, 2))
            assert child.exitcode == 0, "the base was not built"
            shutil.rmtree(folder / "bases" / "rebuilt")
            bar.update(1)
        writer.close()
    expected = exact_neighbours(embeddings, asked)
    rows = [
        timed_row(name, _padded(taken)) | exactness(answers, expected)
        for name, taken in (("during-rebuild", during), ("quiet", quiet))
    ]
    return {
        "embeddings": n,
        "data": "digits",
        "queries": query_count,
        "rounds": rounds,
        "searches": {"during": sum(map(len, during)), "quiet": sum(map(len, quiet))},
        "build_s": sorted(builds_s)[len(builds_s) // 2],
        "ratio_p50": round(rows[0]["p50_ms"] / rows[1]["p50_ms"], 3),
        "ratio_p99": round(rows[0]["p99_ms"] / rows[1]["p99_ms"], 3),
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


@contextmanager
def index_folder() -> Iterator[Path]:
    """A folder for one index."""
    with TemporaryDirectory(prefix="lookalike-bench-") as name:
        yield Path(name)


def with_base(folder: Path, embeddings: NDArray[np.float32]) -> Writer:
    """A writer whose generation is one base of all rows; ids are row numbers, so ties go by them."""
    writer = Writer(folder, "bench", embeddings.shape[1])
    writer.set_logs([LOG])
    n = len(embeddings)
    positions = np.array([_position(row) for row in range(n)], np.int64)
    live = IdTable.build([_id(row).encode() for row in range(n)], positions)
    save_base(folder / "bases" / writer.next_base_name(), live, IdTable.build([], []), embeddings, build_columns([]))
    writer.replace_base(writer.next_base_name(), 0)
    return writer


def append_changes(writer: Writer, changes: list[tuple[int, bytes | None]], *, first_offset: int) -> None:
    """Puts (row, embedding) and deletes (row, None) as the indexer takes them from the feed."""
    feed = [
        # The first follows on offset 0, as if Kafka had compacted what the base holds.
        FeedRow(
            RecordKey(LOG, 0, offset), 0 if offset == first_offset else offset,
            "delete" if embedding is None else "put", "", _id(row), embedding, offset,
        )
        for offset, (row, embedding) in enumerate(changes, first_offset)
    ]  # fmt: skip
    for at in range(0, len(feed), STAGED):
        writer.stage(writer.fold.add(0, 0, feed[at : at + STAGED]))
    writer.publish()


def current_generation(folder: Path) -> Snapshot:
    """The newest generation of an index."""
    snapshot = Reader(folder, fingerprint=None).current()
    assert snapshot is not None
    return snapshot


def _search_while(searched: Searched, asked: NDArray[np.float32], is_on: Any) -> NDArray[np.float64]:
    """Milliseconds of each search until `is_on` says no."""
    taken_ms: list[float] = []
    while is_on():
        for query in asked[len(taken_ms) % len(asked) :][:20]:
            began = time.perf_counter()
            searched.nearest(query)
            taken_ms.append((time.perf_counter() - began) * 1000)
    return np.array(taken_ms)


def _padded(rounds: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    padded = np.full((len(rounds), max(map(len, rounds))), np.nan)
    for line, taken_ms in zip(padded, rounds, strict=True):
        line[: len(taken_ms)] = taken_ms
    return padded


def timed_row(name: str, taken_ms: NDArray[np.float64]) -> dict[str, Any]:
    """A row of figures from milliseconds (rounds, queries)."""
    p50, p99 = (np.median(np.nanquantile(taken_ms, quantile, axis=1)) for quantile in (0.5, 0.99))
    return {"method": name, "p50_ms": round(float(p50), 4), "p99_ms": round(float(p99), 4)}


def exactness(found: NDArray[np.int64], expected: NDArray[np.int64]) -> dict[str, bool]:
    """Whether the rows (m, 10) that were found are those of brute force."""
    return {"same_ids_in_order": bool((found == expected).all())}


def _rows(matches: list[Match]) -> NDArray[np.int64]:
    return np.array([int(match.image_id) for match in matches], np.int64)


def _position(row: int) -> Position:
    return Position(0, row, 0, row, row)


def _id(row: int) -> str:
    return f"{row:08}"
