"""The measured rates that sizes are made of, each with where it stands in `bench/results`; what was not measured has no value."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

KINDS = ("photos", "digits")
# Of the encoders `photo` and `contrast`.
_DIMENSIONS = {"photos": 256, "digits": 128}
TABLES = ("feed", "feed: indexes", "records", "originals")
PROGRAMS = ("kafka", "cassandra", "embedder", "indexer", "api")
# One search over few and over many images, whose quotient says how its time grows, and which of the two a search's time is taken from.
_SEARCHES = {
    "photos": ("search-photos-200000", "search-photos-1000000", "search-photos-1000000"),
    "digits": ("search-60000", "search-1000000", "search-contrast-60000"),
}
_MANY = {"photos": "search-photos-1000000", "digits": "search-1000000"}
# Tables with a vector index, the one with most rows first; `costs` measures one with few.
_TABLES = {"photos": (), "digits": ("engine-1000000", "engine")}

Results = Mapping[str, dict[str, Any]]


class Rate(NamedTuple):
    """One figure.

    Attributes:
        what: of which program or table, in words.
        value: None where it was not measured.
        source: the file of results with the place in it and the processor, or the command that measures it.
    """

    what: str
    value: float | None
    unit: str
    source: str


class Rates(NamedTuple):
    """All that is known of one kind of images. Those of tables, programs and memory by name."""

    kind: str
    image_bytes: Rate
    dimensions: int
    kafka_bytes: Rate
    table_bytes: dict[str, Rate]
    base_bytes: Rate
    image_us: dict[str, Rate]
    search_us: dict[str, Rate]
    resident_mb: dict[str, Rate]
    answer_bytes: Rate
    base_build_us: Rate
    search_ms: Rate
    search_images: int
    search_growth: Rate
    search_images_max: int
    vector_row_bytes: Rate
    vector_index_bytes: Rate
    vector_write_us: Rate
    vector_search_us: Rate
    vector_count: int
    vector_search_ms: Rate
    vector_images_max: int

    def all(self) -> list[Rate]:
        """Every rate, in a fixed order."""
        found: list[Rate] = []
        for each in self:
            found += [each] if isinstance(each, Rate) else each.values() if isinstance(each, dict) else []
        return found


def load_rates(results: Results, kind: str) -> Rates:
    """What the results tell of a kind.

    Raises:
        LookupError: not even exact searches of this kind were measured.
    """
    rows = results.get("costs", {}).get("rows", [])
    row: dict[str, Any] = next((each for each in rows if each["method"] == kind), {})

    def cost(what: str, unit: str, *path: str) -> Rate:
        value: Any = row
        for name in path:
            value = (value or {}).get(name)
        if value is None:
            return Rate(what, None, unit, "`lookalike bench costs` measures it")
        # What was taken over from another measurement says from which.
        elsewhere: str | None = row.get("sources", {}).get(path[0])
        return Rate(what, value, unit, elsewhere or _source(results, "costs", f"{kind}: {' / '.join(path)}"))

    def costs_of(title: str, unit: str, path: str, names: Iterable[str]) -> dict[str, Rate]:
        return {name: cost(title.format(name), unit, path, name) for name in names}

    few, many, taken = _SEARCHES[kind]
    vector_count = row.get("vectors", {}).get("count", 0)
    table = next((name for name in _TABLES[kind] if name in results), None)
    return Rates(
        kind,
        image_bytes=cost("an encoded image", "B", "image_bytes"),
        dimensions=_DIMENSIONS[kind],
        kafka_bytes=cost("an image in Kafka, its file included", "B", "kafka_bytes_per_image"),
        table_bytes=costs_of("an image in Cassandra, table {}", "B", "cassandra_bytes_per_image", TABLES),
        base_bytes=_first(
            cost("an image in the index, on disk and mapped into memory", "B", "base_bytes_per_image"),
            Rate(
                "an image in the index, on disk and mapped into memory, without its id and metadata",
                _of(results, many)["bytes_per_vector"],
                "B",
                _source(results, many, "lookalike: bytes_per_vector"),
            ),
        ),
        image_us=costs_of(
            "processor time of an image, {}", "µs", "processor_us_per_image", (*PROGRAMS, "embedder's children")
        ),
        search_us=costs_of(
            "processor time of a search over HTTP, {}",
            "µs",
            "processor_us_per_search",
            ("cassandra", "api", "api's children"),
        ),
        resident_mb={
            name: _first(rate, _peak(results, name))
            for name, rate in costs_of(
                "memory of a process with its children, {}", "MB", "resident_mb", PROGRAMS
            ).items()
        },
        answer_bytes=cost("an answer to a search", "B", "answer_bytes"),
        base_build_us=_built(results, kind),
        search_ms=Rate(
            f"one exact search, p50, over {_of(results, taken)['count']:,} images",
            _of(results, taken)["p50_ms"],
            "ms",
            _source(results, taken, "lookalike: p50_ms"),
        ),
        search_images=_of(results, taken)["count"],
        search_growth=Rate(
            f"by what power of the images an exact search's time grows, {few} to {many}",
            _growth(_of(results, few), _of(results, many)),
            "",
            _source(results, many, "lookalike: p50_ms"),
        ),
        search_images_max=_of(results, many)["count"],
        vector_row_bytes=cost(
            "an embedding in a table with a vector index, its row", "B", "vectors", "rows_bytes_per_vector"
        ),
        vector_index_bytes=cost("the same, its index", "B", "vectors", "index_bytes_per_vector"),
        vector_write_us=cost(
            "the same, Cassandra's processor time to write it", "µs", "vectors", "cassandra_us_per_vector"
        )
        if table is None
        else Rate(
            f"the same, Cassandra's processor time to write it, of {results[table]['embeddings']:,}",
            results[table]["cassandra_us_per_row"],
            "µs",
            _source(results, table, "cassandra_us_per_row"),
        ),
        vector_search_us=cost(
            "the same, Cassandra's processor time for one search", "µs", "vectors", "cassandra_us_per_search"
        ),
        vector_count=vector_count,
        vector_search_ms=cost("the same, one search, p50", "ms", "vectors", "search_p50_ms")
        if table is None
        else Rate(
            f"one search by a table, `effort=normal`, p50, over {results[table]['embeddings']:,} images",
            _of(results, table, "cassandra, normal")["p50_ms"],
            "ms",
            _source(results, table, "cassandra, normal: p50_ms"),
        ),
        vector_images_max=vector_count if table is None else results[table]["embeddings"],
    )


def without_unknown(rates: Rates) -> Rates:
    """The same, and what was not measured costs nothing: for what is needed at least."""

    def least(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: least(rate) for name, rate in found.items()}
        return found._replace(value=0.0) if isinstance(found, Rate) and found.value is None else found

    return Rates(*(least(found) for found in rates))


def _first(rate: Rate, otherwise: Rate | None) -> Rate:
    """The rate if it was measured."""
    return rate if rate.value is not None or otherwise is None else otherwise


def _peak(results: Results, program: str) -> Rate | None:
    """The most memory that a program of ours took with 60,000 digits."""
    name = f"digits_{program}_with_children_mb"
    if name not in results.get("memory", {}):
        return None
    what = f"memory of a process with its children, {program}, at most, with 60,000 digits"
    return Rate(what, results["memory"][name], "MB", _source(results, "memory", name))


def _of(results: Results, name: str, method: str = "lookalike") -> dict[str, Any]:
    (row,) = (each for each in results[name]["rows"] if each["method"] == method)
    return {**row, "count": results[name]["embeddings"]}


def _growth(few: dict[str, Any], many: dict[str, Any]) -> float:
    """The exponent p of time ~ n^p; never below 0, so that more images never take less."""
    return round(max(0.0, math.log(many["p50_ms"] / few["p50_ms"]) / math.log(many["count"] / few["count"])), 3)


def _built(results: Results, kind: str) -> Rate:
    row = _of(results, _MANY[kind])
    return Rate(
        "building a base, of each image in it",
        round(row["build_s"] * 1e6 / row["count"], 2),
        "µs",
        _source(results, _MANY[kind], "lookalike: build_s"),
    )


def _source(results: Results, name: str, place: str) -> str:
    return f"bench/results/{name}.json, {place} ({results[name]['machine']['cpu']})"
