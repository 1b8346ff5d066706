"""Rows that can be asked which of them a condition holds for: a base's, and a tail's as it grows. Answers are kept."""

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gallery.generations.columns import Columns, build_columns, merge_columns
from gallery.generations.fold import Entry
from gallery.nearest.tree import frozen
from runtime.planted import planted

ANSWERS_SIZE_BYTES_MAX = 16 * 1024 * 1024
ANSWERS_MAX = 256
# A tail's entries become columns so many at a time; fewer are read anew for each generation that is asked.
CHUNK_ENTRIES = 128

RowMask = NDArray[np.bool_]


class Condition(Protocol):
    """What rows are asked; `gallery.filters.Filter` is one.

    Attributes:
        text: equal for conditions that hold for the same rows.
    """

    @property
    def text(self) -> str:
        """As above."""

    def holds(self, rows: "AskedRows") -> RowMask:
        """(n,) bool, for which of the rows it holds."""


class AskedRows:
    """Rows with their metadata as columns. Thread-safe.

    Args:
        count: n, how many rows.
        columns: of the rows; called once.
        find_ids: rows that have one of these ids.
    """

    def __init__(
        self, count: int, columns: Callable[[], Columns], find_ids: Callable[[Collection[str]], Sequence[int]]
    ) -> None:
        self.count = count
        self._columns = columns
        self._find_ids = find_ids
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, RowMask] = OrderedDict()
        self._answers_max = min(ANSWERS_MAX, max(1, ANSWERS_SIZE_BYTES_MAX // max(1, count)))

    @cached_property
    def columns(self) -> Columns:
        """The rows' metadata.

        Raises:
            IndexDamagedError: they are not as a writer writes them.
        """
        return self._columns()

    def with_ids(self, ids: Collection[str]) -> RowMask:
        """(n,) bool, which rows have one of these ids."""
        mask = np.zeros(self.count, np.bool_)
        mask[list(self._find_ids(ids))] = True
        return mask

    def holding(self, condition: Condition) -> RowMask:
        """(n,) bool, read-only, for which rows a condition holds."""
        with self._lock:
            if (known := self._answers.get(condition.text)) is not None:
                self._answers.move_to_end(condition.text)
                return known
        mask: RowMask = frozen(condition.holds(self))
        if planted("filter-shifted-by-a-row"):
            mask = frozen(np.roll(mask, 1))
        with self._lock:
            self._answers[condition.text] = mask
            while len(self._answers) > self._answers_max:
                self._answers.popitem(last=False)
        return mask


class AskedEntries:
    """A tail's entries, of which there are ever more. Thread-safe.

    Chunks are merged like the digits of a number that is counted up, so there are few, and each entry is merged a few times.

    Args:
        entry: tells an entry by its number; what it told does not change.
    """

    def __init__(self, entry: Callable[[int], Entry]) -> None:
        self._entry = entry
        self._lock = threading.Lock()
        self._chunks: list[AskedRows] = []
        self._rest = AskedRows(0, lambda: build_columns([]), lambda _: [])
        self._rest_start = 0

    def holding(self, condition: Condition, count: int) -> RowMask:
        """(count,) bool, for which of the first `count` entries a condition holds; what a delete says means nothing."""
        with self._lock:
            parts = self._parts(count)
        masks = [part.holding(condition) for part in parts]
        return np.concatenate([np.zeros(0, np.bool_), *masks])[:count]

    def _parts(self, count: int) -> list[AskedRows]:
        covered = sum(chunk.count for chunk in self._chunks)
        while covered + CHUNK_ENTRIES <= count:
            self._chunks.append(self._chunk(covered, CHUNK_ENTRIES))
            covered += CHUNK_ENTRIES
            while len(self._chunks) > 1 and self._chunks[-1].count == self._chunks[-2].count:
                second, first = self._chunks.pop(), self._chunks.pop()
                start = covered - first.count - second.count
                self._chunks.append(self._chunk(start, first.count + second.count, first.columns, second.columns))
        if covered >= count:
            ends = np.cumsum([chunk.count for chunk in self._chunks])
            return self._chunks[: bisect_right(ends.tolist(), count - 1) + 1]
        if (self._rest_start, self._rest.count) != (covered, count - covered):
            self._rest, self._rest_start = self._chunk(covered, count - covered), covered
        return [*self._chunks, self._rest]

    def _chunk(self, start: int, count: int, *merged: Columns) -> AskedRows:
        def columns() -> Columns:
            if not merged:
                return build_columns([self._entry(number).metadata for number in range(start, start + count)])
            rows = np.arange(count)
            return merge_columns(zip(merged, np.split(rows, len(merged)), strict=True))

        def find_ids(ids: Collection[str]) -> list[int]:
            return [row for row in range(count) if self._entry(start + row).image_id in ids]

        return AskedRows(count, columns, find_ids)
