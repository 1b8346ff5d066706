"""Filters over metadata in Qdrant's form: read from JSON, checked, and answered from columns.

A filter holds for an image when everything in `must` does, one of `should`, and none of `must_not`. A condition holds when it
does for one value at its key: for the scalar there, or for an element of the array there. Numbers are equal by value, and
booleans are no numbers. `is_null` asks for a null at the key itself, and `except` for a value that is neither null nor named.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from contract.errors import RejectedError
from gallery.filter_conditions import (
    BOUNDS,
    AnyCondition,
    Clauses,
    IdCondition,
    MatchCondition,
    NullCondition,
    RangeCondition,
)
from gallery.generations.asked_metadata import AskedRows, RowMask
from gallery.generations.flattened import METADATA_KEY_SIZE_BYTES_MAX, key_of
from gallery.table.facts import fact_of

DEPTH_MAX = 8
CONDITIONS_MAX = 256
VALUES_MAX = 1000

_CLAUSES = ("must", "should", "must_not")


@dataclass(frozen=True)
class Filter:
    """A filter that was read; see `read_filter`.

    Attributes:
        text: of its JSON.
    """

    text: str
    _clauses: Clauses

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return self._clauses.holds(rows)

    def facts(self) -> list[int]:
        """Facts (gallery/table/facts.py) that every image has for which it holds: of the values that it asks for."""
        return [
            fact_of(each.key, each.values[0])
            for each in self._required()
            if isinstance(each, MatchCondition) and not each.is_except and len(each.values) == 1
        ]

    def ids(self) -> frozenset[str] | None:
        """The ids of which every image has one for which it holds; None where it asks for none."""
        asked = [each.ids for each in self._required() if isinstance(each, IdCondition)]
        return frozenset.intersection(*asked) if asked else None

    def _required(self) -> Iterator[AnyCondition]:
        """Conditions that hold wherever the filter does."""
        clauses = [self._clauses]
        while clauses:
            for each in clauses.pop().must:
                if isinstance(each, Clauses):
                    clauses.append(each)
                else:
                    yield each


def read_filter(told: object) -> Filter:
    """A filter of parsed JSON.

    Raises:
        RejectedError: ``bad-filter``; its detail names the place.
    """
    reader = _Reader()
    clauses = reader.clauses(told, "filter", 1)
    return Filter(json.dumps(told, sort_keys=True), clauses)


def parse_filter(text: str) -> Filter:
    """A filter of JSON text.

    Raises:
        RejectedError: ``bad-filter``; its detail names the place.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad("filter", f"it is not JSON: {error}") from error
    return read_filter(told)


class _Reader:
    """Reads one filter and counts its conditions."""

    def __init__(self) -> None:
        self._count = 0

    def clauses(self, told: object, place: str, depth: int) -> Clauses:
        """What stands at `place`, `depth` filters deep."""
        if depth > DEPTH_MAX:
            raise _bad(place, f"filters are nested more than {DEPTH_MAX} deep")
        found = _object(told, place, _CLAUSES)
        return Clauses(*(tuple(self._conditions(found.get(name), f"{place}.{name}", depth)) for name in _CLAUSES))

    def _conditions(self, told: object, place: str, depth: int) -> Iterator[AnyCondition]:
        if isinstance(told, dict):  # as Qdrant takes one without its list
            yield self._condition(told, place, depth)
        elif told is not None:
            if not isinstance(told, list):
                raise _bad(place, f"expected a list of conditions, it is {_shown(told)}")
            for number, each in enumerate(told):
                yield self._condition(each, f"{place}[{number}]", depth)

    def _condition(self, told: object, place: str, depth: int) -> AnyCondition:
        self._count += 1
        if self._count > CONDITIONS_MAX:
            raise _bad(place, f"there are more than {CONDITIONS_MAX} conditions")
        if not isinstance(told, dict) or not told:
            raise _bad(place, f'expected a condition such as {{"key": …, "match": …}}, it is {_shown(told)}')
        if any(name in told for name in _CLAUSES):
            return self.clauses(told, place, depth + 1)
        if "is_null" in told:
            (inner,) = _only(told, place, ("is_null",))
            (key,) = _only(inner, f"{place}.is_null", ("key",))
            return NullCondition(_key(key, f"{place}.is_null.key"))
        if "has_id" in told:
            (ids,) = _only(told, place, ("has_id",))
            return IdCondition(frozenset(_values(ids, f"{place}.has_id", (str,), "ids")))
        if "range" in told:
            key, bounds = _only(told, place, ("key", "range"))
            return RangeCondition(_key(key, f"{place}.key"), _bounds(bounds, f"{place}.range"))
        key, match = _only(told, place, ("key", "match"))
        return _match(_key(key, f"{place}.key"), match, f"{place}.match")


def _match(key: str, told: object, place: str) -> MatchCondition:
    found = _object(told, place, ("value", "any", "except"))
    if len(found) != 1:
        raise _bad(place, f'expected one of "value", "any" and "except", it has {sorted(found) or "none"}')
    ((kind, given),) = found.items()
    kinds = (str, bool, int, float)
    values = _values([given] if kind == "value" else given, f"{place}.{kind}", kinds, "texts, numbers or booleans")
    return MatchCondition(key, values, is_except=kind == "except")


def _bounds(told: object, place: str) -> Sequence[tuple[str, int | float]]:
    found = _object(told, place, tuple(BOUNDS))
    bounds = [(name, bound) for name, bound in found.items() if bound is not None]
    for name, bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not _is_finite(bound):
            raise _bad(f"{place}.{name}", f"expected a number, it is {_shown(bound)}")
    if not bounds:
        raise _bad(place, f"expected at least one of {', '.join(BOUNDS)}")
    return bounds


def _values(told: object, place: str, kinds: tuple[type, ...], what: str) -> tuple[Any, ...]:
    if not isinstance(told, list) or len(told) > VALUES_MAX:
        raise _bad(place, f"expected a list of at most {VALUES_MAX} {what}, it is {_shown(told)}")
    for number, value in enumerate(told):
        if not isinstance(value, kinds) or not _is_finite(value) or not _is_unicode(value):
            where = place if place.endswith(".value") else f"{place}[{number}]"
            hint = ' (for null use {"is_null": {"key": …}})' if value is None else ""
            raise _bad(where, f"expected {what}, it is {_shown(value)}{hint}")
    return tuple(told)


def _key(told: object, place: str) -> str:
    if not isinstance(told, str) or not told or not _is_unicode(told):
        raise _bad(place, f"expected a key such as label or camera.lens, it is {_shown(told)}")
    try:
        key = key_of(told)
    except ValueError as error:
        raise _bad(
            place,
            f"{_shown(told)} is no key, {error}. Expected names joined by dots, [] behind one of an array of objects, and "
            'names with other signs in quotes, such as a.b, tags[].name or "a.b"',
        ) from error
    if len(key.encode()) > METADATA_KEY_SIZE_BYTES_MAX:
        raise _bad(
            place, f"the key has {len(key.encode())} bytes, at most {METADATA_KEY_SIZE_BYTES_MAX} can be asked for"
        )
    return key


def _object(told: object, place: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(told, dict):
        raise _bad(place, f"expected an object with {', '.join(names)}, it is {_shown(told)}")
    for name in told:
        if name not in names:
            raise _bad(f"{place}.{name[:80]}", f"there is no such name here, only {', '.join(names)}")
    return told


def _only(told: object, place: str, names: tuple[str, ...]) -> tuple[Any, ...]:
    """The values of exactly these names."""
    found = _object(told, place, names)
    for name in names:
        if name not in found:
            raise _bad(f"{place}.{name}", f"it is missing; expected {' and '.join(names)}")
    return tuple(found[name] for name in names)


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _is_unicode(value: object) -> bool:
    return not isinstance(value, str) or not any("\ud800" <= sign <= "\udfff" for sign in value)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _bad(place: str, why: str) -> RejectedError:
    return RejectedError("bad-filter", f"{place}: {why}.")
