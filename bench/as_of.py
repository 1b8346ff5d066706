"""What a search as of an earlier time costs beside a search of now, by the share of images that were replaced since."""

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bench.machine import machine, versions
from bench.peers import K
from bench.scenarios import Searched, append_changes, current_generation, exactness, index_folder, timed_row, with_base
from bench.search import ROUNDS, exact_neighbours, interleaved, search_data
from contract.settings import Settings
from gallery.generations.history import AsOf
from gallery.generations.next_base import save_merged
from gallery.generations.snapshot import Snapshot
from gallery.nearest.compiled import compile_search

# What came before the last base lies in it; of the rest, as much lies in the tail as a tail has at most.
TAIL_SHARE_MAX = 0.1


class SearchedAsOf:
    """A generation, asked as of an earlier time as the API asks it."""

    def __init__(self, snapshot: Snapshot, as_of: AsOf) -> None:
        self._snapshot = snapshot
        self._as_of = as_of

    def nearest(self, query: NDArray[np.float32]) -> NDArray[np.int64]:
        """Row numbers (10,) of the nearest of then, nearest first, for a query (d,)."""
        found = self._snapshot.search(query, K, None, self._snapshot.select(self._as_of))
        return np.array([int(match.image_id) for match in found], np.int64)


def measure_as_of(settings: Settings, n: int, query_count: int, shares: list[float]) -> dict[str, Any]:
    """Searches of n images of which a share was replaced, now and as of the time before.

    Args:
        shares: of the images; half of what was replaced lies in the base and the rest in the tail.
    """
    compile_search(settings.compiled_dir)
    embeddings, asked, *_ = search_data(settings, n, query_count)
    rows = [row for share in shares for row in _measured(embeddings, asked, share)]
    return {
        "embeddings": n,
        "data": "digits",
        "queries": query_count,
        "rounds": ROUNDS,
        "machine": machine(),
        "versions": versions(),
        "rows": rows,
    }


def _measured(embeddings: NDArray[np.float32], asked: NDArray[np.float32], share: float) -> list[dict[str, Any]]:
    n, random = len(embeddings), np.random.default_rng(0)
    replaced = random.choice(n, round(share * n), replace=False)
    in_tail = min(len(replaced) // 2, int(TAIL_SHARE_MAX * n))
    moved = embeddings.copy()
    moved[replaced] += random.normal(0, 0.05, (len(replaced), embeddings.shape[1])).astype(np.float32)
    puts = [(row, moved[row].tobytes()) for row in replaced.tolist()]
    with index_folder() as folder, threadpool_limits(limits=1):
        writer = with_base(folder, embeddings)
        append_changes(writer, puts[in_tail:], first_offset=n)
        name, merged = writer.next_base_name(), writer.manifest.tail.entries
        began = time.perf_counter()
        save_merged(current_generation(folder), folder / "bases" / name, horizon_ms=0)
        build_s = time.perf_counter() - began
        writer.replace_base(name, merged)
        append_changes(writer, puts[:in_tail], first_offset=n + len(puts) - in_tail)
        snapshot, as_of = current_generation(folder), AsOf(offsets=((0, n),))
        began = time.perf_counter()
        snapshot.select(as_of)
        first_ms = (time.perf_counter() - began) * 1000
        held = sum(path.stat().st_size for path in (folder / "bases" / name / "replaced").iterdir())
        found = interleaved({"now": Searched(snapshot), "as-of": SearchedAsOf(snapshot, as_of)}, asked)
        writer.close()
    expected = {"now": exact_neighbours(moved, asked), "as-of": exact_neighbours(embeddings, asked)}
    rows = [timed_row(name, taken) | exactness(ours, expected[name]) for name, (taken, ours) in found.items()]
    figures = {
        "replaced_share": share,
        "in_base": len(replaced) - in_tail,
        "in_tail": in_tail,
        "base_build_s": round(build_s, 2),
        "replaced_bytes_each": round(held / max(1, len(replaced) - in_tail)),
        "first_ms": round(first_ms, 2),
        "ratio_p50": round(rows[1]["p50_ms"] / rows[0]["p50_ms"], 3),
        "ratio_p99": round(rows[1]["p99_ms"] / rows[0]["p99_ms"], 3),
    }
    return [rows[0] | {"replaced_share": share}, rows[1] | figures]
