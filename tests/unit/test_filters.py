"""Filters: what is found is brute force in plain Python over the images whose metadata match, whatever came and went."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contract.errors import RejectedError
from gallery.filters import CONDITIONS_MAX, VALUES_MAX, parse_filter, read_filter
from gallery.generations.asked_metadata import AskedEntries, AskedRows
from gallery.generations.columns import build_columns
from gallery.generations.flattened import is_metadata
from gallery.generations.fold import Entry, Position
from gallery.generations.history import AsOf
from gallery.generations.reader import Reader
from gallery.nearest.neighbours import Neighbours, build_neighbours
from gallery.nearest.tree import frozen
from tests.unit.test_index import ENCODER, Feed, embedding
from tests.unit.test_neighbours import skimmed, walked

NAMES = ["a", "b", "a.b", "", "ä"]
SCALARS = st.sampled_from(
    [None, True, False, 0, 1, 1.0, -0.0, 2**53, 2**53 + 1, float(2**53), 10**400, "", "1", "x", "ä"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
STEPS = st.tuples(st.sampled_from(["a", "b", '"a"', '"a.b"', '""', "ä"]), st.sampled_from(["", "", "", "[]", "[][]"]))
KEYS = st.lists(STEPS.map("".join), min_size=1, max_size=3).map(".".join)
ASKED = SCALARS.filter(lambda value: value is not None)
NUMBERS = st.sampled_from([0, 1, 1.5, -2, 2**53, 2**53 + 1, float(2**53), 10**400, 1e300])
CONDITIONS = (
    st.builds(lambda key, value: {"key": key, "match": {"value": value}}, KEYS, ASKED)
    | st.builds(lambda key, values: {"key": key, "match": {"any": values}}, KEYS, st.lists(ASKED, max_size=3))
    | st.builds(lambda key, values: {"key": key, "match": {"except": values}}, KEYS, st.lists(ASKED, max_size=3))
    | st.builds(
        lambda key, bounds: {"key": key, "range": bounds},
        KEYS,
        st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), NUMBERS, min_size=1, max_size=2),
    )
    | st.builds(lambda key: {"is_null": {"key": key}}, KEYS)
    | st.builds(lambda ids: {"has_id": ids}, st.lists(st.sampled_from([f"id-{n}" for n in range(12)]), max_size=4))
)
CLAUSES = st.sampled_from(["must", "should", "must_not"])
FILTERS: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(CLAUSES, st.lists(CONDITIONS, max_size=3) | CONDITIONS, max_size=3),
    lambda inner: st.dictionaries(CLAUSES, st.lists(CONDITIONS | inner.filter(bool), max_size=3), max_size=3),
    max_leaves=4,
)


def values_at(value: Any, key: str) -> list[Any]:
    """What Qdrant finds at a key: of an array only where `[]` says so."""
    if not key:
        return [value]
    if key.startswith("[]"):
        rest = key[2:].removeprefix(".")
        return [found for inner in value for found in values_at(inner, rest)] if isinstance(value, list) else []
    if key[0] == '"':
        name, end = json.JSONDecoder().raw_decode(key)
    else:
        end = min(at for at in (key.find("."), key.find("["), len(key)) if at >= 0)
        name = key[:end]
    return values_at(value[name], key[end:].removeprefix(".")) if isinstance(value, dict) and name in value else []


def equal(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def is_scalar(value: Any) -> bool:
    return not isinstance(value, list | dict)


def holds(told: Any, image_id: str, metadata: Any) -> bool:
    """Whether a filter or condition holds, by Qdrant's words."""
    if "has_id" in told:
        return image_id in told["has_id"]
    if "is_null" in told:
        return any(value is None for value in values_at(metadata, told["is_null"]["key"]))
    if "key" not in told:
        clauses = {name: [each] if isinstance(each, dict) else each for name, each in told.items()}
        found = {name: [holds(each, image_id, metadata) for each in clauses.get(name, [])] for name in clauses}
        should = found.get("should") or [True]
        return all(found.get("must", [])) and any(should) and not any(found.get("must_not", []))
    values = [
        each
        for value in values_at(metadata, told["key"])
        for each in (value if isinstance(value, list) else [value])
        if is_scalar(each) and each is not None
    ]
    if "range" in told:
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        return any(all(_within(number, *bound) for bound in told["range"].items()) for number in numbers)
    ((kind, asked),) = told["match"].items()
    if kind == "value":
        return any(equal(value, asked) for value in values)
    matched = [any(equal(value, each) for each in asked) for value in values]
    return any(matched) if kind == "any" else not all(matched)


def _within(number: Any, name: str, bound: Any) -> bool:
    return bool({"gt": number > bound, "gte": number >= bound, "lt": number < bound, "lte": number <= bound}[name])


def text_of(told: object) -> str:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def nearest(gallery: dict[str, tuple[NDArray[np.float32], Any]], query: NDArray[np.float32], asked: Any) -> list[str]:
    keyed = [
        (float(np.linalg.norm(vector.astype(np.float64) - query)), image_id.encode())
        for image_id, (vector, metadata) in gallery.items()
        if holds(asked, image_id, metadata)
    ]
    return [image_id.decode() for _, image_id in sorted(keyed)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_filtered_answers_equal_brute_force_after_any_puts_replacements_deletes_and_rebuilds(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    feed = Feed(tmp_path_factory.mktemp("index"))
    reader = Reader(feed.folder, ENCODER)
    gallery: dict[str, tuple[NDArray[np.float32], Any]] = {}
    ids = st.sampled_from([f"id-{n}" for n in range(12)])
    asked = data.draw(st.lists(FILTERS, min_size=1, max_size=3))
    kept = []
    states: list[dict[str, tuple[NDArray[np.float32], Any]]] = [{}]  # by the offset below which records count
    for _ in range(data.draw(st.integers(1, 5))):
        changes = data.draw(st.lists(st.tuples(ids, st.none() | st.integers(0, 9), OBJECTS), max_size=20))
        vectors = [(name, None if seed is None else embedding(seed)) for name, seed, _ in changes]
        feed.add(*vectors, metadata=[text_of(told) for _, _, told in changes])
        for (name, vector), (_, _, told) in zip(vectors, changes, strict=True):
            gallery.pop(name, None)
            if vector is not None:
                gallery[name] = (vector, told)
            states.append(dict(gallery))
        if data.draw(st.booleans()):
            feed.rebuild()
        snapshot = reader.current()
        assert snapshot is not None
        kept.append((snapshot, dict(gallery)))
        older, as_it_was = data.draw(st.sampled_from(kept))
        query = embedding(data.draw(st.integers(0, 12)))
        end = data.draw(st.integers(0, len(states) - 1))
        as_of = snapshot.select(AsOf(offsets=((0, end),)))
        for told in asked:
            for found, past, expected in (
                (snapshot, None, gallery),
                (older, None, as_it_was),
                (snapshot, as_of, states[end]),
            ):
                selection = found.filtered(read_filter(told), past)
                ids_found = [match.image_id for match in found.search(query, 20, selection=selection)]
                assert ids_found == nearest(expected, query, told), (told, past)
                assert selection.count == len(ids_found)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_growing_tail_is_asked_at_any_length_in_any_order(counts: list[int], chance: Any) -> None:
    told = [text_of({"n": number % 7}) if number % 3 else "" for number in range(700)]
    asked = AskedEntries(lambda n: Entry(f"id-{n}", Position(0, 0, 0, n, 0), b"", told[n]))
    wanted = parse_filter('{"should": [{"key": "n", "match": {"value": 3}}, {"has_id": ["id-0", "id-699"]}]}')
    for count in counts:
        found = np.flatnonzero(asked.holding(wanted, count)).tolist()
        assert found == [n for n in range(count) if (n % 3 and n % 7 == 3) or n in (0, 699)]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["normal", "equal", "clusters", "huge"])
@pytest.mark.parametrize("way", [walked, skimmed])
def test_search_among_chosen_rows_is_the_search_with_the_others_gone(
    share: float, kind: str, way: Callable[[NDArray[np.float32]], Neighbours]
) -> None:
    random = np.random.default_rng(3)
    vectors = random.standard_normal((5000, 24)).astype(np.float32)
    vectors = {
        "normal": vectors,
        "equal": vectors * 0,
        "clusters": (np.round(vectors * 0.4) * 100 + vectors * 0.01).astype(np.float32),
        "huge": np.clip(vectors, -3, 3) * np.float32(1e38),
    }[kind]
    neighbours = way(vectors)
    mask = random.random(5000) < share
    chosen, rows = neighbours.choose(mask), np.flatnonzero(mask)
    assert chosen.count == len(rows)
    for k in (1, 10, 1000):
        for query in (vectors[7], random.standard_normal(24).astype(np.float32)):
            for max_distance in (None, 3.0, 0.0):
                distances, found = neighbours.nearest_chosen(query, k, chosen, max_distance)
                alone, places = build_neighbours(vectors[rows]).nearest(
                    query, k, frozen(np.ones(len(rows), np.bool_)), max_distance
                )
                assert (distances.tolist(), found.tolist()) == (alone.tolist(), rows[places].tolist())


WRONG = [
    ("[]", "filter: expected an object"),
    ("{", "filter: it is not JSON"),
    ('{"musst": []}', "filter.musst: there is no such name here"),
    ('{"must": 7}', "filter.must: expected a list"),
    ('{"must": [7]}', "filter.must[0]: expected a condition"),
    ('{"must": [{}]}', "filter.must[0]: expected a condition"),
    ('{"must": [{"key": "a"}]}', "filter.must[0].match: it is missing"),
    ('{"must": [{"match": {"value": 1}}]}', "filter.must[0].key: it is missing"),
    ('{"must": [{"key": "a", "match": {"value": 1}, "range": {}}]}', "filter.must[0].match: there is no such name"),
    ('{"must": [{"key": 7, "match": {"value": 1}}]}', "filter.must[0].key: expected a key"),
    ('{"must": [{"key": "a..b", "match": {"value": 1}}]}', "filter.must[0].key: "),
    ('{"must": [{"key": "a[0]", "match": {"value": 1}}]}', "filter.must[0].key: "),
    ('{"must": [{"key": "a", "match": {"value": null}}]}', "filter.must[0].match.value: expected texts"),
    ('{"must": [{"key": "a", "match": {"value": [1]}}]}', "filter.must[0].match.value: expected texts"),
    ('{"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}', "filter.must[0].match: expected one of"),
    ('{"must": [{"key": "a", "match": {"any": "x"}}]}', "filter.must[0].match.any: expected a list"),
    ('{"must": [{"key": "a", "match": {"any": [1, {}]}}]}', "filter.must[0].match.any[1]: expected texts"),
    ('{"should": {"key": "a", "range": {"gt": "2"}}}', "filter.should.range.gt: expected a number"),
    ('{"must": [{"key": "a", "range": {"gt": true}}]}', "filter.must[0].range.gt: expected a number"),
    ('{"must": [{"key": "a", "range": {"gt": NaN}}]}', "filter.must[0].range.gt: expected a number"),
    ('{"must": [{"key": "a", "range": {}}]}', "filter.must[0].range: expected at least one"),
    ('{"must": [{"key": "a", "range": {"over": 1}}]}', "filter.must[0].range.over: there is no such name"),
    ('{"must_not": [{"is_null": "a"}]}', "filter.must_not[0].is_null: expected an object"),
    ('{"must": [{"has_id": [7]}]}', "filter.must[0].has_id[0]: expected ids"),
    ('{"must": [{"has_id": ["\\ud800"]}]}', "filter.must[0].has_id[0]: expected ids"),
    (text_of({"must": [{"key": "k" * 257, "match": {"value": 1}}]}), "filter.must[0].key: the key has 257 bytes"),
    (text_of({"must": [{"is_null": {"key": "a"}}] * (CONDITIONS_MAX + 1)}), "there are more than 256 conditions"),
    (text_of({"must": [{"has_id": ["a"] * (VALUES_MAX + 1)}]}), "filter.must[0].has_id: expected a list of at most 1000"),
    ('{"must":[' * 9 + "{}" + "]}" * 9, "filters are nested more than 8 deep"),
    ('{"must":[' * 100_000, "filter: it is not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG)
def test_wrong_filter_is_refused_and_its_place_named(text: str, said: str) -> None:
    with pytest.raises(RejectedError) as refused:
        parse_filter(text)
    assert refused.value.reason == "bad-filter"
    assert said in refused.value.detail and len(refused.value.detail) < 500


def test_metadata_of_any_image_may_be_hostile_and_still_answers(tmp_path: Path) -> None:
    """Each image other keys, 16 KiB each."""
    told = [text_of({f"{image}.{n}": n for n in range(1300)}) for image in range(20)]
    assert all(map(is_metadata, told))
    feed = Feed(tmp_path)
    feed.add(*[(f"{n}", embedding(n)) for n in range(20)], metadata=told)
    wanted = parse_filter('{"must": [{"key": "\\"7.1299\\"", "range": {"gte": 1299}}]}')
    for _ in range(2):
        snapshot = Reader(tmp_path, ENCODER).current()
        assert snapshot is not None
        assert [match.image_id for match in snapshot.search(embedding(1), 9, selection=snapshot.filtered(wanted))] == [
            "7"
        ]
        feed.rebuild()


@pytest.mark.parametrize("bound", [10**400, -(10**400)])
def test_numbers_that_float64_does_not_reach_are_compared(bound: int) -> None:
    values = [bound - 1, bound, bound + 1, 0, 1e300]
    rows = AskedRows(len(values), lambda: build_columns([text_of({"n": value}) for value in values]), lambda _: [])
    for name in ("gt", "gte", "lt", "lte"):
        told = {"must": [{"key": "n", "range": {name: bound}}]}
        assert read_filter(told).holds(rows).tolist() == [_within(value, name, bound) for value in values], name
    told = {"must": [{"key": "n", "match": {"any": [bound, 0]}}]}
    assert read_filter(told).holds(rows).tolist() == [False, True, False, True, False]
