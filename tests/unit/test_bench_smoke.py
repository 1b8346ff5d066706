"""Every measurement runs from beginning to end with tiny sizes, and ours answers exactly. Times are nobody's business here."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.everything import measure_everything, measurements
from bench.goals import GOALS, outcomes
from bench.report import markdown
from bench.results import read_results
from contract.settings import load_settings
from tests.conftest import COMPILED_DIR

# A minute on two quiet cores. It starts a dozen processes, so that a busy machine takes far longer.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1200)]

METHOD_KEYS = {"method", "p50_ms", "p99_ms", "recall_at_10", "build_s", "bytes_per_vector"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What `python -m bench all --quick` writes, on servers that it starts."""
    folder = tmp_path_factory.mktemp("bench")
    settings = load_settings(var_dir=folder / "var", compiled_dir=COMPILED_DIR)
    assert measure_everything(settings, folder / "results", measurements(quick=True)) == []
    return read_results(folder / "results")


def test_every_measurement_writes_a_result_that_says_what_it_was_measured_on(
    results: dict[str, dict[str, Any]],
) -> None:
    assert sorted(results) == sorted(one.name for one in measurements(quick=True))
    for figures in results.values():
        assert {"command", "measured_at", "machine", "versions"} <= set(figures)
        assert {"cpu", "cores"} <= set(figures["machine"])


@pytest.mark.parametrize("name", ["search-2000", "search-uniform-2000"])
def test_a_search_result_has_a_row_for_each_installed_method(results: dict[str, dict[str, Any]], name: str) -> None:
    rows = {row["method"]: row for row in results[name]["rows"]}
    assert {"lookalike", "numpy", "sklearn-kdtree"} <= set(rows)
    assert all(set(row) >= METHOD_KEYS for row in rows.values())


def test_every_answer_of_ours_equals_brute_force(results: dict[str, dict[str, Any]]) -> None:
    ours = [row for name in ("search-2000", "search-uniform-2000", "systems") for row in results[name]["rows"]]
    ours = [row for row in ours if row["method"] == "lookalike"]
    mixed = [
        each for name in ("tail-2000", "batches-2000", "rebuild-2000", "history-2000") for each in results[name]["rows"]
    ]
    assert len(ours) == 3 and len(mixed) == 8
    assert all(row["same_ids_in_order"] for row in ours + mixed)
    filtered = [row for row in results["filters"]["rows"] if row["method"].startswith("lookalike, ")]
    assert len(filtered) == 9 and all(row["same_ids_in_order"] for row in filtered)


def test_a_system_that_is_not_installed_has_a_row_that_says_so(results: dict[str, dict[str, Any]]) -> None:
    rows = results["systems"]["rows"]
    assert [row["method"] for row in rows] == ["lookalike", "lancedb", "chroma", "milvus-lite"]
    assert all(set(row) >= METHOD_KEYS or row["unavailable"] for row in rows)


def test_freshness_stands_beside_its_floors_and_says_whether_the_rate_was_reached(
    results: dict[str, dict[str, Any]],
) -> None:
    figures = results["freshness"]
    assert {"kafka_round_trip", "cassandra_write"} <= set(figures["floors"])
    assert [(row["clients"], row["rate_per_s"]) for row in figures["rows"]] == [(0, 30), (0, 60), (2, 30), (2, 60)]
    for row in figures["rows"]:
        assert {"p50_ms", "p99_ms", "sent_per_s", "rate_was_reached", "kept_up"} <= set(row)
        assert bool(row["searches"]) == bool(row["clients"])


def test_the_pipeline_says_what_the_store_and_each_stage_cost(results: dict[str, dict[str, Any]]) -> None:
    assert {"with_store_to_without", "decode_us_per_image", "fold_publish_us_per_image"} <= set(results["road"])
    assert {"judge", "records", "feed"} <= set(results["road"]["rows"][0]["stages_us_per_image"])
    programs = {"kafka", "cassandra", "embedder", "embedder's children", "indexer", "api", "this measurement"}
    assert programs <= set(results["road"]["processor_us_per_image"])


def test_photographs_are_measured_on_one_core_and_as_queries_of_both_efforts(
    results: dict[str, dict[str, Any]],
) -> None:
    figures = results["photos"]
    assert (figures["encoder"], figures["gallery_images"]) == ("photo", 30)
    assert 0 < figures["whole_to_litert_alone"] < 1.2
    assert [(row["method"], row["searches"]) for row in figures["rows"]] == [("normal", 4), ("thorough", 2)]


def test_photographs_from_topic_to_searchable_stand_beside_decoding_and_the_network_alone(
    results: dict[str, dict[str, Any]],
) -> None:
    figures = results["photo-road"]
    assert 0 < figures["topic_to_searchable_to_alone"] < 1.2
    assert {"cassandra", "embedder's children", "indexer"} <= set(figures["processor_us_per_image"])


def test_the_report_shows_every_result_and_goals_that_were_not_measured(results: dict[str, dict[str, Any]]) -> None:
    text = markdown(results)
    assert all(f"## {name}\n" in text for name in results)
    found = outcomes(results)
    assert len(found) == len(GOALS)
    assert text.count("not measured") == sum(outcome.is_met is None for outcome in found) > 0
    json.dumps(results)


def test_a_goal_is_missed_or_met_by_its_figure() -> None:
    rows = [{"method": "lookalike", "p50_ms": 1.0, "p99_ms": 9.0, "same_ids_in_order": True}]
    found = {outcome.goal.what: outcome.is_met for outcome in outcomes({"search-60000": {"rows": rows}})}
    assert found["60,000: p99 / p50"] is False
    assert found["60,000: answers other than float64 brute force"] is True
    assert found["1,000,000: p99 / p50"] is None


def test_reading_results_where_none_are_says_how_to_measure(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="make bench"):
        read_results(tmp_path)
