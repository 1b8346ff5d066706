"""The goals for the figures, and whether the results meet them."""

from collections.abc import Callable
from typing import Any, NamedTuple

Results = dict[str, dict[str, Any]]


class Goal(NamedTuple):
    """One goal: `figure` reads a number from the results, or fails with LookupError where it was not measured.

    Attributes:
        unit: behind the figure: "×", " ms", " MB".
        is_most: the figure must be at most `limit`; else at least.
    """

    what: str
    limit: float
    unit: str
    is_most: bool
    figure: Callable[[Results], float]


class Outcome(NamedTuple):
    """A goal and what was measured; `is_met` is None where it was not."""

    goal: Goal
    figure: float | None
    is_met: bool | None


def row(results: Results, name: str, method: str) -> dict[str, Any]:
    """The row of a method in a result.

    Raises:
        LookupError: it was not measured, or could not be.
    """
    for found in results[name]["rows"]:
        if found["method"] == method and "unavailable" not in found:
            return dict(found)
    raise LookupError(f"{name} has no row {method}")


def outcomes(results: Results) -> list[Outcome]:
    """All goals, whether measured or not."""
    found = []
    for goal in GOALS:
        try:
            figure = float(goal.figure(results))
        except LookupError:
            found.append(Outcome(goal, None, None))
            continue
        found.append(Outcome(goal, figure, figure <= goal.limit if goal.is_most else figure >= goal.limit))
    return found


def _faster(name: str, peer: str) -> Callable[[Results], float]:
    return lambda r: row(r, name, peer)["p50_ms"] / row(r, name, "lookalike")["p50_ms"]


def _times(name: str, peer: str) -> Callable[[Results], float]:
    return lambda r: 1 / _faster(name, peer)(r)


def _wrong(name: str) -> Callable[[Results], float]:
    return lambda r: 1 - row(r, name, "lookalike")["same_ids_in_order"]


def _p99_to_p50(name: str) -> Callable[[Results], float]:
    return lambda r: row(r, name, "lookalike")["p99_ms"] / row(r, name, "lookalike")["p50_ms"]


def _build(name: str) -> Callable[[Results], float]:
    return lambda r: row(r, name, "lookalike")["build_s"] / row(r, name, "hnswlib")["build_s"]


def _filtered(share: str) -> Callable[[Results], float]:
    """The slower of a filter that matches at random and one whose matches lie together."""
    kinds = (f"lookalike, random {share}", f"lookalike, correlated {share}")
    return lambda r: max(float(row(r, "filters", kind)["times_unfiltered"]) for kind in kinds)


def _growth(results: Results) -> float:
    """Of searches one after the other, between which nothing else runs."""
    few, many = (row(results, f"rebuild-{n}", "quiet")["p50_ms"] for n in (60_000, 1_000_000))
    return float(many / few)


def _fresh(rate: int, clients: int, what: str) -> Callable[[Results], float]:
    return lambda r: row(r, "freshness", f"{rate} images/s, {clients} clients")[what]


def _as_of_tenth(results: Results) -> float:
    by_share = {each["replaced_share"]: each for each in results["history-60000"]["rows"] if each["method"] == "as-of"}
    return float(by_share[0.1]["ratio_p50"])


S60, S1M, UNIFORM, CONTRAST = "search-60000", "search-1000000", "search-uniform-60000", "search-contrast-60000"
PHOTOS, PHOTOS1M, PHOTOS1M_2 = "search-photos-200000", "search-photos-1000000", "search-photos-1000000-threads-2"
GOALS = (
    Goal("60,000: answers other than float64 brute force", 0, "", True, _wrong(S60)),
    Goal("1,000,000: answers other than float64 brute force", 0, "", True, _wrong(S1M)),
    Goal("60,000 uniform: answers other than float64 brute force", 0, "", True, _wrong(UNIFORM)),
    Goal("60,000: faster than FAISS Flat, p50", 15, "×", False, _faster(S60, "faiss-flat")),
    Goal("60,000: faster than scikit-learn's KDTree, p50", 50, "×", False, _faster(S60, "sklearn-kdtree")),
    Goal("60,000: faster than hnswlib at recall ≥ .996, p50", 1, "×", False, _faster(S60, "hnswlib")),
    Goal("1,000,000: faster than FAISS Flat, p50", 80, "×", False, _faster(S1M, "faiss-flat")),
    Goal("1,000,000: faster than hnswlib at recall ≥ .996, p50", 0.83, "×", False, _faster(S1M, "hnswlib")),
    Goal("60,000 uniform: faster than numpy, p50", 1, "×", False, _faster(UNIFORM, "numpy")),
    Goal("60,000 uniform: faster than FAISS Flat, p50", 1, "×", False, _faster(UNIFORM, "faiss-flat")),
    Goal("60,000, `contrast`: faster than FAISS Flat, p50", 12, "×", False, _faster(CONTRAST, "faiss-flat")),
    Goal("60,000, `contrast`: time / hnswlib's at recall ≥ .996, p50", 1.5, "×", True, _times(CONTRAST, "hnswlib")),
    Goal("200,000 photographs: answers other than float64 brute force", 0, "", True, _wrong(PHOTOS)),
    Goal("200,000 photographs: faster than FAISS Flat, p50", 8, "×", False, _faster(PHOTOS, "faiss-flat")),
    Goal("200,000 photographs: time / hnswlib's at recall ≥ .996, p50", 4, "×", True, _times(PHOTOS, "hnswlib")),
    Goal("1,000,000 photographs: answers other than float64 brute force", 0, "", True, _wrong(PHOTOS1M)),
    Goal("1,000,000 photographs: faster than FAISS Flat, p50", 8, "×", False, _faster(PHOTOS1M, "faiss-flat")),
    Goal("1,000,000 photographs, two threads: faster than FAISS Flat with one, p50", 14, "×", False, _faster(PHOTOS1M_2, "faiss-flat")),
    Goal("200,000 photographs: a fifth in the tail, 5 % deleted / one clean base, p50", 1.5, "×", True, lambda r: r["tail-photos-200000"]["ratio_p50"]),
    Goal("200,000 photographs: searches in batches of 64 / one by one", 3, "×", False, lambda r: r["batches-photos-200000"]["times_faster"]),
    Goal("60,000: p99 / p50", 4, "×", True, _p99_to_p50(S60)),
    Goal("1,000,000: p99 / p50", 4, "×", True, _p99_to_p50(S1M)),
    Goal("60,000 → 1,000,000, nothing in between: p50 grows", 4, "×", True, _growth),
    Goal("1,000,000: build / hnswlib's", 0.05, "×", True, _build(S1M)),
    Goal("1,000,000: bytes an embedding / raw float32", 1.25, "×", True, lambda r: row(r, S1M, "lookalike")["bytes_per_vector"] / 512),
    Goal("60,000: a fifth in the tail, 5 % deleted / one clean base, p50", 1.5, "×", True, lambda r: r["tail-60000"]["ratio_p50"]),
    Goal("60,000: p99 during a rebuild / quiet", 2, "×", True, lambda r: r["rebuild-60000"]["ratio_p99"]),
    Goal("1,000,000: p99 during a rebuild / quiet", 2, "×", True, lambda r: r["rebuild-1000000"]["ratio_p99"]),
    Goal("60,000, a tenth replaced: as of the time before / now, p50", 1.3, "×", True, _as_of_tenth),
    Goal("200,000 by the engine cassandra: recall at 10, effort normal", 0.98, "", False, lambda r: row(r, "engine", "cassandra, normal")["recall_at_10"]),
    Goal("the same, effort high", 0.995, "", False, lambda r: row(r, "engine", "cassandra, high")["recall_at_10"]),
    Goal("1,000,000 by the engine cassandra: the API's memory beside an empty table's", 50, " MB", True, lambda r: r["engine-1000000"]["api_more_mb"]),
    Goal("60,000: a filter that all match / no filter, p50", 1.5, "×", True, _filtered("1")),
    Goal("60,000: a filter that .1 match / no filter, p50", 2, "×", True, _filtered("0.1")),
    Goal("60,000: a filter that .01 match / no filter, p50", 2, "×", True, _filtered("0.01")),
    Goal("60,000: a filter that .001 match / no filter, p50", 2, "×", True, _filtered("0.001")),
    Goal("topic → searchable, 60,000 digits at once", 2500, " images/s", False, lambda r: r["road"]["topic_to_searchable_per_s"]),
    Goal("embedder with the store / with one that does nothing", 0.7, "×", False, lambda r: r["road"]["with_store_to_without"]),
    Goal("confirmed → searchable at 1,000/s while 4 clients search and pause 50 ms, p50", 150, " ms", True, _fresh(1000, 4, "p50_ms")),
    Goal("the same, p99", 700, " ms", True, _fresh(1000, 4, "p99_ms")),
    Goal("two and three embedders, simulated with what one costs: farthest from measured", 0.2, "", True, lambda r: r["simulate"]["farthest_off"]),
    Goal("HTTP search with an image, 16 clients", 1000, " searches/s", False, lambda r: row(r, "http", "16 clients")["per_s"]),
    Goal("the same, p99", 60, " ms", True, lambda r: row(r, "http", "16 clients")["p99_ms"]),
    Goal("HTTP searches / echoes of FastAPI alone, 16 clients", 0.6, "×", False, lambda r: r["http"]["search_to_echo"]),
    Goal("HTTP search with an image, one client, p50", 4, " ms", True, lambda r: row(r, "http", "one client")["p50_ms"]),
    Goal("photograph of 300 x 500: decode to embedding / LiteRT alone", 0.65, "×", False, lambda r: r["photos"]["whole_to_litert_alone"]),
    Goal("photographs of 300 x 500, topic → searchable / decode and LiteRT alone on all cores", 0.75, "×", False, lambda r: r["photo-road"]["topic_to_searchable_to_alone"]),
    Goal("12 Mpx photograph as a query over HTTP, p50", 150, " ms", True, lambda r: row(r, "photos", "normal")["p50_ms"]),
    Goal("the same with effort=thorough", 600, " ms", True, lambda r: row(r, "photos", "thorough")["p50_ms"]),
    Goal("100,000 photographs searched for duplicates, with 10,000 new verdicts", 600, " s", True, lambda r: r["duplicates"]["with_10000_verdicts_s"]),
    Goal("verdicts: the right edit, its amount within 20 %", 0.9, "", False, lambda r: r["explain"]["copies"]["right_edit_and_amount"]),
    Goal("verdicts: near neighbours called altered copies", 0.005, "", True, lambda r: r["explain"]["neighbours"]["called_copies"]),
    Goal("verdicts for ten matches, p50", 30, " ms", True, lambda r: r["explain"]["ten_matches"]["p50_ms"]),
    Goal("embedder's peak memory, 60,000 digits", 250, " MB", True, lambda r: r["memory"]["digits_embedder_with_children_mb"]),
    Goal("embedder's peak memory, images of 7.9 MiB", 1500, " MB", True, lambda r: r["memory"]["large_embedder_with_children_mb"]),
    Goal("indexer's peak memory, 60,000 digits", 338, " MB", True, lambda r: r["memory"]["digits_indexer_mb"]),
    Goal("API's peak memory, 60,000 digits", 300, " MB", True, lambda r: r["memory"]["digits_api_mb"]),
)  # fmt: skip
