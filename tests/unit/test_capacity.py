"""Sizes: made of measured rates alone, larger for more, and told with where each rate stands."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import validate

from bench.capacity.foretold import foretell
from bench.capacity.page import page
from bench.capacity.plans import Load, Machine, Plan
from bench.capacity.rates import KINDS, Rate, Rates, load_rates
from bench.capacity.sizing import ENGINES, REPLICATION, plan
from bench.results import RESULTS_DIR, read_results
from commands.__main__ import main

RESULTS = read_results(RESULTS_DIR)
RATES = {kind: load_rates(RESULTS, kind) for kind in KINDS}


def filled(rates: Rates) -> Rates:
    """The rates, with some number where nothing was measured: a property of a sum must not hold for want of a part of it."""

    def fill(found: Any) -> Any:
        if isinstance(found, dict):
            return {name: fill(rate) for name, rate in found.items()}
        return found._replace(value=1000.0) if isinstance(found, Rate) and found.value is None else found

    return Rates(*(fill(found) for found in rates))


FILLED = {kind: filled(rates) for kind, rates in RATES.items()}
MACHINE = Machine(16, 128.0, 4000.0)
ROOT = Path(__file__).parents[2]

LOADS = st.builds(
    Load,
    images=st.floats(1, 1e10),
    rate=st.floats(0, 1e5),
    searches=st.floats(0, 1e5),
    image_bytes=st.none() | st.floats(100, 3e7),
    retention_hours=st.sampled_from([-1.0, 0.0, 24.0]),
)


def figures(found: Plan) -> dict[str, float]:
    """Everything that a plan says is needed, by name."""
    needed = {f"{part.name} {name}": getattr(part, name) for part in found.parts for name in part.__annotations__}
    needed |= found.traffic_mb_per_s
    return {name: value for name, value in needed.items() if not isinstance(value, str)} | {
        "partitions": found.partitions,
        "search_ms": math.inf if found.search_ms is None else found.search_ms,
    }


def assert_never_less(less: Load, more: Load) -> None:
    for engine in ENGINES:
        for rates in FILLED.values():
            few, many = (figures(plan(engine, load, rates, MACHINE)) for load in (less, more))
            assert few.keys() == many.keys()
            assert not {name: (few[name], many[name]) for name in few if many[name] < few[name] * (1 - 1e-9)}


@settings(max_examples=25, deadline=None)
@given(load=LOADS, factor=st.floats(1, 1000))
def test_more_images_never_need_less_of_anything(load: Load, factor: float) -> None:
    assert_never_less(load, replace(load, images=load.images * factor))


@settings(max_examples=25, deadline=None)
@given(load=LOADS, factor=st.floats(0, 1))
def test_a_lower_rate_never_needs_more_of_anything(load: Load, factor: float) -> None:
    assert_never_less(replace(load, rate=load.rate * factor), load)
    assert_never_less(replace(load, searches=load.searches * factor), load)


@settings(max_examples=25, deadline=None)
@given(load=LOADS, factor=st.integers(1, 8))
def test_larger_machines_are_never_more_machines(load: Load, factor: int) -> None:
    larger = Machine(16 * factor, 128.0 * factor, 4000.0 * factor)
    for engine in ENGINES:
        few, many = (plan(engine, load, FILLED["photos"], machine) for machine in (larger, MACHINE))
        assert few.machines <= many.machines


@pytest.mark.parametrize("kind", KINDS)
def test_disk_is_the_bytes_of_a_row_times_rows_times_copies(kind: str) -> None:
    rates = FILLED[kind]
    row = sum(rate.value or 0 for rate in rates.table_bytes.values())
    parts = {part.name: part for part in plan("exact", Load(1e9, 0, 0), rates, MACHINE).parts}
    assert parts["Cassandra"].disk_gb == pytest.approx(REPLICATION * row)  # 10⁹ rows of so many bytes are so many GB
    assert parts["Kafka"].disk_gb == pytest.approx(REPLICATION * (rates.kafka_bytes.value or 0))


def test_what_kafka_keeps_follows_from_its_retention() -> None:
    kept = {
        hours: plan("exact", Load(1e9, 100, 0, retention_hours=hours), RATES["photos"], MACHINE).parts[0].disk_gb
        for hours in (-1, 24, 0)
    }
    assert kept[24] == pytest.approx(kept[-1] * 100 * 86_400 / 1e9)
    assert kept[0] == 0


def test_an_index_that_no_machine_can_hold_is_told() -> None:
    (problem,) = plan("exact", Load(1e9, 100, 10), RATES["photos"], MACHINE).problems
    assert "GB" in problem and "--memory-gb" in problem
    assert not plan("exact", Load(1e6, 100, 10), RATES["photos"], MACHINE).problems


def test_more_images_than_one_indexer_can_follow_are_told() -> None:
    problems = plan("exact", Load(1e6, 1e6, 10), FILLED["digits"], MACHINE).problems
    assert any("one indexer" in problem for problem in problems)
    assert any("a base is built" in problem for problem in problems)


@pytest.mark.parametrize("kind", KINDS)
def test_how_long_a_table_searches_is_told_for_no_more_images_than_were_measured(kind: str) -> None:
    rates = RATES[kind]
    at_most, more = (
        plan("cassandra", Load(rates.vector_images_max + further, 1, 1), rates, MACHINE) for further in (0, 1)
    )
    assert at_most.search_ms == rates.vector_search_ms.value is not None
    assert more.search_ms is None


def test_a_rate_that_was_not_measured_is_told_and_not_invented() -> None:
    results = json.loads(json.dumps(RESULTS))
    for row in results["costs"]["rows"]:
        row.pop("vectors", None)
    rates = load_rates(results, "photos")
    found = plan("cassandra", Load(1e6, 1, 1), rates, MACHINE)
    (part,) = (part for part in found.parts if part.name == "Cassandra")
    assert not part.is_known and math.isnan(part.disk_gb)
    assert found.to_json()["parts"][1]["disk_gb"] is None
    assert any("was not measured" in note for note in found.notes)
    assert not math.isnan(plan("exact", Load(1e6, 1, 1), rates, MACHINE).parts[0].disk_gb)


@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
def test_every_rate_says_where_it_stands(rates: Rates) -> None:
    for rate in rates.all():
        named = rate.source.partition(",")[0]
        assert rate.value is None or (ROOT / named).is_file(), rate
        assert rate.unit in ("B", "µs", "ms", "MB", "")


SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": [
        "kind",
        "images",
        "rate_per_s",
        "searches_per_s",
        "image_bytes",
        "replication",
        "machine",
        "engines",
        "rates",
        "not_measured",
    ],
    "properties": {
        "engines": {
            "type": "object",
            "required": list(ENGINES),
            "additionalProperties": {
                "type": "object",
                "required": ["parts", "total", "partitions", "search_ms", "traffic_mb_per_s", "problems", "notes"],
                "properties": {
                    "search_ms": {"type": ["number", "null"]},
                    "parts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "processes", "cores", "memory_gb", "disk_gb", "machines"],
                            "additionalProperties": {"type": ["number", "string", "null"]},
                        },
                    },
                },
            },
        },
        "simulated": {"type": ["object", "null"]},
        "rates": {"type": "array", "items": {"type": "object", "required": ["what", "value", "unit", "source"]}},
        "not_measured": {"type": "array", "items": {"type": "string"}, "minItems": 1},
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_json_has_everything_by_name(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    words = ["capacity", "--images", "1e9", "--rate", "2000", "--searches", "500", "--kind", kind, "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    validate(found, SCHEMA)
    assert (found["images"], found["rate_per_s"], found["searches_per_s"], found["kind"]) == (1e9, 2000, 500, kind)
    for made in found["engines"].values():
        assert made["total"]["machines"] == sum(part["machines"] for part in made["parts"])


def test_how_fresh_a_gallery_would_be_is_told_where_all_that_it_takes_was_measured() -> None:
    costs = {name: {"time": 1000.0} for name in ("kafka", "embedder", "decoder", "storing", "indexer", "reading")}
    results = {"simulate": {"costs_us": {**costs, "batch_wait": 4000.0, "image_wait": 10.0}}}
    us = FILLED["digits"].image_us["indexer"].value
    assert us is not None
    for rate, kept_up in ((100.0, True), (1.5e6 / us, False)):  # there is one indexer, which is one core
        load = Load(1e6, rate, 10)
        made = plan("exact", load, FILLED["digits"], MACHINE)
        found = foretell(made, load, FILLED["digits"], MACHINE, results)
        assert found is not None
        assert 0 < found.fresh_p50_ms <= found.fresh_p99_ms and found.kept_up is kept_up
        assert foretell(made, load, FILLED["digits"], MACHINE, {}) is None


def test_text_tells_both_engines_their_sources_and_what_was_not_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capacity", "--images", "1e6"]) == 0
    text = capsys.readouterr().out
    for wanted in (
        "engine exact",
        "engine cassandra",
        "bench/results/costs.json",
        "not measured:",
        "MB/s",
        "1,000,000 photos",
    ):
        assert wanted in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--images", "0"], "expected a number such as"),
        (["--images", "many"], "is no number"),
        (["--images", "nan"], "is no number"),
        (["--rate", "-1"], "below 0"),
        (["--rate", "inf"], "is no number"),
        (["--searches", "-5"], "below 0"),
        (["--cores", "1.5"], "1, 2, 3"),
        (["--memory-gb", "1"], "8 or more"),
        (["--kind", "films"], "photos"),
    ],
)
def test_wrong_numbers_are_told_with_what_was_expected(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["capacity", *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_the_page_is_what_the_command_writes() -> None:
    assert (ROOT / "docs" / "capacity.md").read_text() == page(RESULTS), "lookalike capacity --page > docs/capacity.md"


def test_what_is_known_asks_for_machines_where_something_else_is_not_known() -> None:
    rates = FILLED["photos"]
    unknown = rates._replace(search_us={name: rate._replace(value=None) for name, rate in rates.search_us.items()})
    load = Load(1e8, 100, 1000)
    found, whole = (plan("exact", load, each, MACHINE).parts[-1] for each in (unknown, rates))
    assert found.name == "API" and not found.is_known and math.isnan(found.cores)
    assert 1 < found.machines <= whole.machines
