"""Filters: refused with their place, or holding for exactly the images for which the judge's own reading of them does.

An input is JSON text, or, where it begins with a zero, choices that build a filter.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from contract.errors import RejectedError
from gallery.filters import parse_filter
from gallery.generations.asked_metadata import AskedRows
from gallery.generations.columns import build_columns
from tests.history.filters import holds

SIZE_BYTES_MAX = 4096
NUMBERS: list[Any] = [0, 1, -1, 7, 2.5, -0.0, 1e300, 2**53, 2**53 + 1, 10**30, 10**400]
SCALARS: list[Any] = [*NUMBERS, True, False, "", "a", "ä", "1", "true", "\0", '"']
KEYS = ["label", "tags", "camera.lens", "camera", "ä", "n", "deep.a.b", "none"]
METADATA: list[dict[str, Any]] = [
    {},
    *({"label": scalar, "n": [scalar, None]} for scalar in SCALARS),
    {"label": None, "tags": []},
    {"tags": ["a", 1, True, None], "camera": {"lens": 50}},
    {"camera": {"lens": [1, 2.5, "a"]}, "ä": "ä"},
    {"camera": 7, "deep": {"a": {"b": None}}},
    {"deep": {"a": [{"b": 1}, {"b": "a"}]}, "n": {"n": 1}},
]
IDS = [f"id/{number}" for number in range(len(METADATA))]
ROWS = AskedRows(
    len(METADATA),
    lambda: build_columns([json.dumps(each, ensure_ascii=False, sort_keys=True) for each in METADATA]),
    lambda wanted: [number for number, image_id in enumerate(IDS) if image_id in wanted],
)
_PLAIN_KEY = re.compile(r'[^."\[\]]+(\.[^."\[\]]+)*')


def corpus() -> list[bytes]:
    """One of each condition, and choices that build all sorts."""
    texts = [
        '{"must": [{"key": "label", "match": {"value": 7}}]}',
        '{"must": {"key": "tags", "match": {"any": ["a", 1, true]}}}',
        '{"should": [{"key": "camera.lens", "range": {"gte": 1, "lt": 50.5}}], "must_not": [{"is_null": {"key": "label"}}]}',
        '{"must": [{"has_id": ["id/1", "id/2"]}, {"key": "n", "match": {"except": [1, "a"]}}]}',
        '{"must": [{"should": [{"must_not": [{"key": "ä", "match": {"value": "ä"}}]}]}]}',
        '{"must": [{"key": "deep.a[].b", "match": {"value": 1}}, {"key": "\\"a.b\\"", "match": {"value": 1}}]}',
        '{"must": null}',
    ]
    return [*(text.encode() for text in texts), *(bytes([0, *range(n, n + 60)]) for n in range(0, 190, 7))]


def attempt(value: bytes) -> None:
    """Read it, and ask it of all rows."""
    if value[:1] == b"\0":
        choices = iter(value[1:])
        text = json.dumps(_clauses(choices, 3))
    else:
        text = value.decode("utf-8", "replace")
    try:
        found = parse_filter(text)
    except RejectedError as error:
        assert error.reason == "bad-filter" and error.detail.startswith("filter") and len(error.detail) < 700, error
        assert value[:1] != b"\0" or "more than 256 conditions" in error.detail, f"what was built is refused: {error}"
        return
    told = found.holds(ROWS).tolist()
    asked = json.loads(text)
    if all(_PLAIN_KEY.fullmatch(key) for key in _keys(asked)):
        wanted = _as_lists(asked)
        assert told == [holds(wanted, image_id, each) for image_id, each in zip(IDS, METADATA, strict=True)], text


def _clauses(choices: Iterator[int], depth: int) -> dict[str, Any]:
    names = [name for name, bit in (("must", 1), ("should", 2), ("must_not", 4)) if next(choices, 1) % 8 & bit]
    return {name: [_built(choices, depth) for _ in range(next(choices, 0) % 4)] for name in names or ["must"]}


def _built(choices: Iterator[int], depth: int) -> dict[str, Any]:
    kind, key = next(choices, 0) % 7, KEYS[next(choices, 0) % len(KEYS)]
    if kind == 0 and depth:
        return _clauses(choices, depth - 1)
    if kind == 1:
        return {"is_null": {"key": key}}
    if kind == 2:
        return {"has_id": [IDS[next(choices, 0) % len(IDS)] for _ in range(next(choices, 0) % 4)]}
    if kind == 3:
        bounds = ["gt", "gte", "lt", "lte"]
        return {
            "key": key,
            "range": {bounds[next(choices, 0) % 4]: NUMBERS[next(choices, 0) % len(NUMBERS)] for _ in range(2)},
        }
    if kind == 4:
        return {"key": key, "match": {"value": SCALARS[next(choices, 0) % len(SCALARS)]}}
    values = [SCALARS[next(choices, 0) % len(SCALARS)] for _ in range(next(choices, 0) % 5)]
    return {"key": key, "match": {"any" if kind == 5 else "except": values}}


def _keys(asked: Any) -> Iterator[str]:
    """Everything that stands under the name key, at any depth."""
    if isinstance(asked, dict):
        for name, inner in asked.items():
            yield from [inner] if name == "key" else _keys(inner)
    elif isinstance(asked, list):
        for inner in asked:
            yield from _keys(inner)


def _as_lists(asked: dict[str, Any]) -> dict[str, Any]:
    """The filter with a list where one condition stands without it."""
    clauses = {"must", "should", "must_not"}
    return {
        name: [_as_lists(each) for each in ([inner] if isinstance(inner, dict) else inner or [])]
        if name in clauses
        else inner
        for name, inner in asked.items()
    }
