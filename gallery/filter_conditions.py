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
        wanted = np.zeros(len(numbers), np.bool_)
        for value in self.values:
            if isinstance(value, str | bool):
                wanted |= _is_text(json.dumps(value, ensure_ascii=False), texts, first, len(numbers))
            else:
                wanted |= _compared(texts, first, numbers, value, operator.eq)
        return ~(wanted | _is_text("null", texts, first, len(numbers))) if self.is_except else wanted


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
            wanted &= _compared(texts, first, numbers, bound, BOUNDS[name])
        return wanted


@dataclass(frozen=True)
class NullCondition:
    """The key itself has null."""

    key: str

    def holds(self, rows: AskedRows) -> RowMask:
        """(n,) bool, for which of the rows it holds."""
        return _any_value(rows, (self.key,), lambda texts, first, numbers: _is_text("null", texts, first, len(numbers)))


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


def _is_text(text: str, texts: Texts, first: int, count: int) -> RowMask:
    """Which of the `count` sorted texts from `first` on is this one."""
    mask, wanted = np.zeros(count, np.bool_), text.encode()
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if texts[first + middle] < wanted else (low, middle)
    if low < count and texts[first + low] == wanted:
        mask[low] = True
    return mask


def _compared(
    texts: Texts, first: int, numbers: NDArray[np.float64], bound: int | float, holds: Callable[[Any, Any], Any]
) -> RowMask:
    """Which numbers compare with `bound` as asked, exactly: by their texts where float64 would round them."""
    try:
        rounded = float(bound)
    except OverflowError:
        rounded = math.copysign(math.inf, bound)
    mask: RowMask = holds(numbers, rounded)
    for place in np.flatnonzero(np.abs(numbers) >= _EXACT_BELOW).tolist():
        mask[place] = holds(json.loads(texts[first + place]), bound)
    return mask
