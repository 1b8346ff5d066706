"""What the conditions of a filter hold for, answered from columns (gallery/filters.py reads them)."""

import json
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.generations.asked_metadata import AskedRows, RowMask
from gallery.generations.columns import Texts

BOUNDS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
# From here on whole numbers have no float64 of their own.
_EXACT_BELOW = 2.0**53


@dataclass(frozen=True)
class Clauses:
    """A filter, or one inside another one."""

    must: Sequence["AnyCondition"]
    should: Sequence["AnyCondition"]
    must_not: Sequence["AnyCondition"]

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        mask = np.ones(rows.count, np.bool_)
        for condition in self.must:
            mask &= condition.holds(rows)
        for condition in self.must_not:
            mask &= ~condition.holds(rows)
        if self.should:
            mask &= np.logical_or.reduce([condition.holds(rows) for condition in self.should])
        return mask


@dataclass(frozen=True)
class MatchCondition:
    """A value at the key is one of these, or with `is_except` none of them and not null."""

    key: str
    values: Sequence[str | bool | int | float]
    is_except: bool

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return _any_value(rows, (self.key, f"{self.key}[]"), self._wanted)

    def _wanted(self, texts: Texts, first: int, numbers: NDArray[np.float64]) -> RowMask:
        asked = {value for value in self.values if not isinstance(value, str | bool)}
        wanted: RowMask = np.isin(numbers, [_rounded(value) for value in asked])
        # Equal numbers are rounded equally, so only of those here it must be asked what they were.
        for place in _ambiguous(numbers, wanted):
            wanted[place] = json.loads(texts[first + place]) in asked
        for value in self.values:
            if isinstance(value, str | bool):
                _mark_text(wanted, json.dumps(value, ensure_ascii=False), texts, first)
        if self.is_except:
            _mark_text(wanted, "null", texts, first)
        return ~wanted if self.is_except else wanted


@dataclass(frozen=True)
class RangeCondition:
    """A number at the key is within all bounds."""

    key: str
    bounds: Sequence[tuple[str, int | float]]

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return _any_value(rows, (self.key, f"{self.key}[]"), self._wanted)

    def _wanted(self, texts: Texts, first: int, numbers: NDArray[np.float64]) -> RowMask:
        wanted = ~np.isnan(numbers)
        for name, bound in self.bounds:
            compare, rounded = BOUNDS[name], _rounded(bound)
            fits = compare(numbers, rounded)
            # Rounding keeps the order, so only where both are rounded to the same it must be asked what they were.
            for place in _ambiguous(numbers, numbers == rounded):
                fits[place] = compare(json.loads(texts[first + place]), bound)
            wanted &= fits
        return wanted


@dataclass(frozen=True)
class NullCondition:
    """The key itself has null."""

    key: str

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return _any_value(rows, (self.key,), self._wanted)

    def _wanted(self, texts: Texts, first: int, numbers: NDArray[np.float64]) -> RowMask:
        wanted = np.zeros(len(numbers), np.bool_)
        _mark_text(wanted, "null", texts, first)
        return wanted


@dataclass(frozen=True)
class IdCondition:
    """The image has one of these ids."""

    ids: frozenset[str]

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return rows.with_ids(self.ids)


AnyCondition = Clauses | MatchCondition | RangeCondition | NullCondition | IdCondition


def _any_value(
    rows: AskedRows, keys: Sequence[str], wanted: Callable[[Texts, int, NDArray[np.float64]], RowMask]
) -> RowMask:
    """Which rows have a value at one of the keys that is wanted, as `wanted` says of the values of a key."""
    mask, columns = np.zeros(rows.count, np.bool_), rows.columns
    for key in keys:
        number = columns.find(key)
        if number < 0:
            continue
        first, end = columns.value_ends[number : number + 2].tolist()
        is_wanted = wanted(columns.texts, first, columns.numbers[first:end])
        entries = slice(*columns.entry_ends[number : number + 2].tolist())
        mask[columns.rows[entries][is_wanted[columns.codes[entries]]]] = True
    return mask


def _mark_text(mask: RowMask, text: str, texts: Texts, first: int) -> None:
    """Set in `mask` the place of this text among the sorted ones from `first` on, if it is there."""
    wanted = text.encode()
    low, high = 0, len(mask)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if texts[first + middle] < wanted else (low, middle)
    if low < len(mask) and texts[first + low] == wanted:
        mask[low] = True


def _rounded(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _ambiguous(numbers: NDArray[np.float64], candidates: RowMask) -> list[int]:
    """Places of those candidates of which float64 does not tell the number itself."""
    found: list[int] = np.flatnonzero(candidates & (np.abs(numbers) >= _EXACT_BELOW)).tolist()
    return found
