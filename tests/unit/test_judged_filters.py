"""The judge's own reading of filters: what the documentation says, condition by condition."""

from typing import Any

import pytest

from tests.history.filters import holds


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"key": "n", "match": {"value": 1}}, True),
        ({"key": "flag", "match": {"value": 1}}, False),
        ({"key": "tags", "match": {"any": ["x", "b"]}}, True),
        ({"key": "tags", "match": {"except": ["a", "b"]}}, False),
        ({"key": "none", "match": {"except": [1]}}, False),
        ({"is_null": {"key": "none"}}, True),
        ({"is_null": {"key": "missing"}}, False),
        ({"key": "camera.lens", "range": {"gte": 50, "lt": 51}}, True),
        ({"key": "places[].city", "match": {"value": "Oslo"}}, True),
        ({"has_id": ["x"]}, False),
        ({"must_not": [{"has_id": ["x"]}]}, True),
    ],
)
def test_filters_are_read_as_the_documentation_says(condition: dict[str, Any], expected: bool) -> None:
    metadata = {
        "n": 1.0, "flag": True, "tags": ["a", "b"], "none": None, "camera": {"lens": 50},
        "places": [{"city": "Rome"}, {"city": "Oslo"}],
    }  # fmt: skip
    assert holds({"must": [condition]}, "id", metadata) is expected
