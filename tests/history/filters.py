"""Whether a filter holds for one image: read off its metadata, object by object, as the documentation says it."""

import operator
from collections.abc import Iterator, Mapping
from typing import Any

_BOUNDS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def holds(asked: Mapping[str, Any], image_id: str, metadata: Mapping[str, Any]) -> bool:
    """Whether everything in `must` holds, one of `should`, and none of `must_not`."""

    def each(name: str) -> list[bool]:
        return [_condition(condition, image_id, metadata) for condition in asked.get(name) or ()]

    should = each("should")
    return all(each("must")) and not any(each("must_not")) and (any(should) or not should)


def _condition(asked: Mapping[str, Any], image_id: str, metadata: Mapping[str, Any]) -> bool:
    if asked.keys() & {"must", "should", "must_not"}:
        return holds(asked, image_id, metadata)
    if "has_id" in asked:
        return image_id in asked["has_id"]
    if "is_null" in asked:
        return any(value is None for value in _at(metadata, asked["is_null"]["key"].split(".")))
    values = [
        scalar
        for value in _at(metadata, asked["key"].split("."))
        for scalar in (value if isinstance(value, list) else [value])
        if not isinstance(scalar, dict | list)
    ]
    if "range" in asked:
        return any(_is_number(value) and _is_within(value, asked["range"]) for value in values)
    match = asked["match"]
    if "except" in match:
        return any(value is not None and not _is_one_of(value, match["except"]) for value in values)
    wanted = [match["value"]] if "value" in match else match["any"]
    return any(_is_one_of(value, wanted) for value in values)


def _at(value: Any, path: list[str]) -> Iterator[Any]:
    """What stands at a path; a name with [] behind it goes into each object of an array."""
    if not path:
        yield value
        return
    name = path[0].removesuffix("[]")
    if isinstance(value, dict) and name in value:
        for inner in value[name] if path[0].endswith("[]") and isinstance(value[name], list) else [value[name]]:
            yield from _at(inner, path[1:])


def _is_one_of(value: Any, wanted: list[Any]) -> bool:
    """Numbers are equal by value; a boolean is no number."""
    return any(isinstance(value, bool) == isinstance(each, bool) and value == each for each in wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_within(value: float, bounds: Mapping[str, Any]) -> bool:
    return all(_BOUNDS[name](value, bound) for name, bound in bounds.items() if bound is not None)
