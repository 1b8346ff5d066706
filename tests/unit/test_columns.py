"""Metadata as columns: what is read back is what was told, whatever the metadata, and damage is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contract.errors import IndexDamagedError
from gallery.generations.columns import COLUMNS_FILE, Columns, build_columns, load_columns, merge_columns
from gallery.generations.flattened import flattened, is_metadata, metadata_checksum, number_of

NAMES = st.sampled_from(["a", "b", "a.b", "", '"', "[]", "ä", "a[]", "\\"]) | st.text(max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return inner | st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3)


VALUES = nested(nested(SCALARS))
METADATA = st.just("") | st.dictionaries(NAMES, VALUES, max_size=3).map(lambda told: text_of(told))


def text_of(told: object) -> str:
    """As an embedder writes it."""
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def bytes_of(columns: Columns, folder: Path) -> Any:
    columns.save(folder)
    return np.frombuffer((folder / COLUMNS_FILE).read_bytes(), np.uint8)


def told_by(columns: Columns, row_count: int) -> list[set[tuple[str, str]]]:
    """Of each row what `flattened` tells of its metadata."""
    found: list[set[tuple[str, str]]] = [set() for _ in range(row_count)]
    for number in range(len(columns.keys)):
        key, first = columns.keys[number].decode(), int(columns.value_ends[number])
        entries = slice(*columns.entry_ends[number : number + 2].tolist())
        for row, code in zip(columns.rows[entries].tolist(), columns.codes[entries].tolist(), strict=True):
            found[row].add((key, columns.texts[first + code].decode()))
    return found


# A busy machine is no reason to fail.
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(METADATA, max_size=5), st.lists(METADATA, max_size=5), st.data())
@example([], [], None)
@example(["", '{"":[[1,1.0,1],{}]}'], ["", ""], None)
def test_columns_tell_what_the_metadata_say_after_any_merge_and_from_disk(
    tmp_path_factory: pytest.TempPathFactory, one: list[str], other: list[str], data: st.DataObject | None
) -> None:
    both = one + other
    assert all(map(is_metadata, both))
    order = data.draw(st.permutations(range(len(both)))) if data else list(range(len(both)))
    gone = data.draw(st.sets(st.sampled_from(range(len(both))))) if data and both else set()
    kept = [number for number in order if number not in gone]
    after = np.array([kept.index(number) if number in kept else -1 for number in range(len(both))], np.int64)
    merged = merge_columns([(build_columns(one), after[: len(one)]), (build_columns(other), after[len(one) :])])
    content = bytes_of(merged, tmp_path_factory.mktemp("columns"))
    expected = [flattened(both[number]) for number in kept]
    loaded = load_columns(content, len(kept))
    assert told_by(loaded, len(kept)) == expected
    assert loaded.checksums(len(kept)).tolist() == [metadata_checksum(both[number]) for number in kept]
    whole = bytes_of(build_columns([both[number] for number in kept]), tmp_path_factory.mktemp("columns"))
    assert (content.tobytes()) == whole.tobytes(), "what was merged is what had been built at once"


def test_keys_name_objects_by_dots_and_arrays_by_brackets() -> None:
    told = {
        "camera": {"lens": 50},
        "tags": ["a", "b", "a"],
        "places": [{"city": "Ulm"}, {"city": None}],
        "a.b": [[True]],
    }
    assert flattened(text_of(told)) == {
        ("camera.lens", "50"), ("tags[]", '"a"'), ("tags[]", '"b"'), ("places[].city", '"Ulm"'),
        ("places[].city", "null"), ('"a.b"[][]', "true"),
    }  # fmt: skip
    assert flattened('{"empty":{},"list":[[]]}') == set()


def test_long_keys_are_left_out_so_that_16_kib_stay_small() -> None:
    assert flattened(text_of({"ä" * 128: [1], "ä" * 128 + "x": [2]})) == {("ä" * 128 + "[]", "1")}
    told = text_of({"k" * 8000: {str(n): n for n in range(900)}})
    assert flattened(told) == set()


def test_images_that_share_no_key_cost_in_proportion_to_their_metadata(tmp_path: Path) -> None:
    told = [text_of({f"{image:x}-{n:x}": n for n in range(1200)}) for image in range(50)]
    columns = build_columns(told)
    size = len(bytes_of(columns, tmp_path))
    assert len(columns.keys) == 60_000 and size < 8 * sum(map(len, told))


@pytest.mark.parametrize(("text", "number"), [("-1.5", -1.5), ("9" * 400, np.inf), ("-" + "9" * 400, -np.inf)])
def test_number_is_the_nearest_float64(text: str, number: float) -> None:
    assert number_of(text) == number
    assert all(np.isnan(number_of(other)) for other in ("null", "true", '"1"'))


def test_mutants_of_a_columns_file_are_refused_or_read_as_columns(tmp_path: Path) -> None:
    """Whoever passes the checksum must still not lead out of an array."""
    rows = [text_of({"label": n % 3, "tags": ["a", str(n)], "x": {"y": n / 7}}) for n in range(40)]
    whole = bytes_of(build_columns(rows), tmp_path)
    chance = np.random.default_rng(5)
    refused = 0
    for _ in range(1000):
        mutant = whole.copy()
        places = chance.integers(0, len(mutant), chance.integers(1, 4))
        mutant[places] = chance.integers(0, 256, len(places))
        mutant = mutant[: len(mutant) if chance.random() < 0.8 else chance.integers(0, len(mutant))]
        try:
            told_by(load_columns(mutant, 40), 40)
        except IndexDamagedError:
            refused += 1
    assert refused > 300
