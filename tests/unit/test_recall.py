"""Recall of searches in a table, as it is measured while the table changes; and what filters tell Cassandra."""

import json
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.record_key import RecordKey
from gallery.filters import read_filter
from gallery.generations.asked_metadata import AskedRows
from gallery.generations.columns import build_columns
from gallery.generations.manifest import LogCoverage, PartitionCoverage
from gallery.generations.snapshot import Match
from gallery.store.embeddings import EmbeddingRow
from gallery.table.facts import facts_of
from gallery.table.manifest import TABLE_FORMAT, TableManifest
from gallery.table.recall import SampledSearch
from gallery.table.snapshot import TableSnapshot

COVERED = 100
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3)
)
METADATA = st.dictionaries(st.sampled_from("ab"), st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=2)


def row(image_id: str, at: float, offset: int) -> EmbeddingRow:
    """A row at a place on a line, of a record of partition 0."""
    return EmbeddingRow(image_id, (0, 0, 0, offset, 0), np.array([at, 0], "<f4").tobytes())


def searched(found: list[tuple[str, float, int]], k: int = 3) -> SampledSearch:
    """A search for what lies at 0, which covered the records below `COVERED`."""
    manifest = msgspec.structs.replace(
        TableManifest.nothing_yet("0", "", 2, 1, TABLE_FORMAT),
        logs=[LogCoverage("log", {"0": PartitionCoverage(COVERED, 0)})],
    )
    matches = [Match(image_id, at, RecordKey("log", 0, offset), 0) for image_id, at, offset in found]
    query = np.zeros(2, np.float32)
    return SampledSearch("normal", query, k, matches, TableSnapshot(manifest, SimpleNamespace()))  # type: ignore[arg-type]


def recall(search: SampledSearch, rows: list[EmbeddingRow]) -> float | None:
    for start in range(0, len(rows), 2):
        page = rows[start : start + 2]
        search.take(page, {each.image_id: each for each in page})
    return search.recall()


ROWS = [row("c", 3, 2), row("a", 1, 0), row("d", 4, 3), row("b", 2, 1)]


def test_what_was_missed_counts() -> None:
    assert recall(searched([("a", 1, 0), ("b", 2, 1), ("c", 3, 2)]), ROWS) == 1.0
    assert recall(searched([("a", 1, 0), ("c", 3, 2), ("d", 4, 3)]), ROWS) == pytest.approx(2 / 3)
    assert recall(searched([("a", 1, 0)], k=1), ROWS) == 1.0


def test_what_came_after_the_search_does_not_count() -> None:
    assert recall(searched([("a", 1, 0), ("b", 2, 1), ("c", 3, 2)]), [row("new", 0.5, COVERED), *ROWS]) == 1.0


def test_what_was_found_and_is_gone_since_took_a_place_that_nobody_else_owes() -> None:
    found = [("a", 1.0, 0), ("b", 2.0, 1), ("c", 3.0, 2)]
    assert recall(searched(found), [each for each in ROWS if each.image_id != "b"]) == 1.0
    replaced = [row("b", 9, COVERED + 1) if each.image_id == "b" else each for each in ROWS]
    assert recall(searched(found), replaced) == 1.0


def test_of_equally_far_images_any_is_right_and_of_none_nothing_is_said() -> None:
    assert recall(searched([("a", 1, 0)], k=1), [row("z", 1, 5), *ROWS]) == 1.0
    assert recall(searched([]), []) is None


@given(METADATA, st.sampled_from(["a", "b", "a[]"]), VALUES.filter(lambda value: value is not None))
def test_an_image_has_every_fact_of_a_filter_that_holds_for_it(told: dict[str, Any], key: str, value: Any) -> None:
    text = json.dumps(told, ensure_ascii=False)
    asked = read_filter({"must": [{"key": key, "match": {"value": value}}]})
    holds = asked.holds(AskedRows(1, lambda: build_columns([text]), lambda _: []))[0]
    assert not holds or set(asked.facts()) <= facts_of(text)


def test_facts_and_ids_are_taken_from_what_must_hold_alone() -> None:
    condition = {"key": "label", "match": {"value": 1}}
    assert len(read_filter({"must": [condition, {"must": [{"key": "b", "match": {"value": "x"}}]}]}).facts()) == 2
    for others in ({"should": [condition]}, {"must_not": [condition]}, {"must": {"should": [condition]}}):
        assert read_filter(others).facts() == []
    assert read_filter({"must": {"key": "label", "match": {"any": [1, 2]}}}).facts() == []
    assert read_filter({"must": [{"has_id": ["a", "b"]}, {"has_id": ["b"]}]}).ids() == frozenset("b")
    assert read_filter({"should": [{"has_id": ["a"]}]}).ids() is None
