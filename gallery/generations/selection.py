"""What a search may find where that is not everything that ids mean now: made once for each question, and kept for the next."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gallery.generations.history import AsOf
from gallery.generations.kept import Kept
from gallery.generations.tail import Tail
from gallery.nearest.neighbours import ChosenRows
from gallery.nearest.tree import frozen

SELECTIONS_KEPT = 16


@dataclass(frozen=True)
class Selection:
    """Which rows may be found.

    Attributes:
        base, tail, replaced: (n,) bool, by row of the base's images, by entry of the tail, and by row of the puts that others
            replaced.
        counts: how many of each of these.
        later: the first offset that is known not to count, by partition of the newest log.
        few: the rows of `base`, where they are prepared because many are left out.
    """

    base: NDArray[np.bool_]
    tail: NDArray[np.bool_]
    replaced: NDArray[np.bool_]
    counts: tuple[int, int, int]
    later: Mapping[int, int]
    few: ChosenRows | None = None

    @property
    def count(self) -> int:
        """How many images may be found."""
        return sum(self.counts)


class Selections:
    """The selections that were asked for last, over a tail that grows. Thread-safe."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[AsOf, int], Selection] = OrderedDict()

    def knows(self, as_of: AsOf, newest_log: int) -> bool:
        """Whether `select` is quick for this time."""
        return (as_of, newest_log) in self._kept

    def select(self, as_of: AsOf, entry_count: int, newest_log: int) -> Selection:
        """What ids meant at an earlier time, over the first entries of the tail.

        Args:
            newest_log: number of the log that offsets are of.
        """
        key = as_of, newest_log
        known = self._kept.get(key)
        found = self._continued(known, as_of, entry_count, newest_log) if known else None
        if found is None:
            found = select_as_of(Kept(self._tail, entry_count), as_of, newest_log)
        with self._lock:
            if known is None or len(known.tail) < entry_count:
                self._kept[key] = found
            if key in self._kept:
                self._kept.move_to_end(key)
            if len(self._kept) > SELECTIONS_KEPT:
                self._kept.popitem(last=False)
        return found

    def _continued(self, known: Selection, as_of: AsOf, entry_count: int, newest_log: int) -> Selection | None:
        """The selection, when what came since does not count; None when it does, or the selection is of more."""
        new = self._tail.positions[len(known.tail) : entry_count]
        if len(known.tail) == entry_count:
            return known
        if len(known.tail) > entry_count or as_of.includes(new, newest_log).any():
            return None
        tail = np.concatenate([known.tail, np.zeros(len(new), np.bool_)])
        return replace(known, tail=frozen(tail), later=_first_offsets(new, newest_log, known.later))


def select_as_of(kept: Kept, as_of: AsOf, newest_log: int) -> Selection:
    """What ids meant when only those records count that `as_of` includes."""
    included = as_of.includes(kept.positions, newest_log)
    may_be_found = kept.meant(included) & kept.is_put
    live, _, puts, _, entries = np.split(may_be_found, kept.starts[1:-1])
    parts = frozen(live), frozen(entries), frozen(puts)
    later = _first_offsets(kept.positions[~included], newest_log, {})
    return Selection(*parts, (int(live.sum()), int(entries.sum()), int(puts.sum())), later)


def _first_offsets(positions: NDArray[np.int64], newest_log: int, known: Mapping[int, int]) -> dict[int, int]:
    """The lowest offset of each partition of the newest log, those that are known included."""
    logs, _, partitions, offsets, _ = positions.T
    of_newest = logs == newest_log
    first = dict(known)
    for partition in np.unique(partitions[of_newest]).tolist():
        lowest = int(offsets[of_newest & (partitions == partition)].min())
        first[partition] = min(lowest, first.get(partition, lowest))
    return first
