"""What ids meant earlier: which records an earlier time includes, which of them each id meant, and how long that is kept.

A record that an id no longer means is needed as long as an answer may leave out every higher record of that id. Once one of
those is older than history is kept, the lower ones are dropped, and the *floor* says that no answer may leave that one out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from contract.errors import LookalikeError
from gallery.generations.fold import Position
from runtime.planted import planted

_LOG, _EFFECTIVE_MS, _PARTITION, _OFFSET = (
    Position._fields.index(name) for name in ("log_number", "effective_ms", "partition", "offset")
)


@dataclass(frozen=True)
class AsOf:
    """Which records count: all below `offsets` of the newest log, and earlier logs whole; or all up to `time_ms`.

    Attributes:
        offsets: (partition, offset) in the order of partitions; of a partition that is not named no record counts.
        time_ms: the greatest effective time, milliseconds since 1970; None where `offsets` say it.
    """

    offsets: tuple[tuple[int, int], ...] = ()
    time_ms: int | None = None

    def includes(self, positions: NDArray[np.int64], newest_log: int) -> NDArray[np.bool_]:
        """Which of the records at `positions` (n, 5) count, (n,).

        Args:
            newest_log: number of the log that `offsets` are of.
        """
        if self.time_ms is not None:
            return np.asarray(positions[:, _EFFECTIVE_MS] <= self.time_ms)
        ends = np.zeros(max((partition for partition, _ in self.offsets), default=0) + 2, np.int64)
        for partition, offset in self.offsets:
            ends[partition] = offset + planted("as-of-one-more")
        end = ends[np.minimum(positions[:, _PARTITION], len(ends) - 1)]
        return np.asarray((positions[:, _LOG] < newest_log) | (positions[:, _OFFSET] < end))


@dataclass(frozen=True)
class Floor:
    """The earliest that can still be answered: records that must count, since lower ones of their ids were dropped.

    Attributes:
        ends: by log number and partition, the offset behind the last of these records and their greatest effective time.
    """

    ends: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def time_ms(self) -> int:
        """The earliest time that can be answered, milliseconds since 1970; 0 for any."""
        return max((time_ms for _, time_ms in self.ends.values()), default=0)

    def offsets(self, newest_log: int) -> dict[int, int]:
        """The lowest offsets that can be answered, by partition; 0 where a partition is not named."""
        return {partition: end for (log, partition), (end, _) in sorted(self.ends.items()) if log == newest_log}

    def allows(self, as_of: AsOf, newest_log: int) -> bool:
        """Whether all that `as_of` needs is kept."""
        if as_of.time_ms is not None:
            return as_of.time_ms >= self.time_ms or not self.ends
        asked = dict(as_of.offsets)
        return all(asked.get(partition, 0) >= end for partition, end in self.offsets(newest_log).items())

    def is_below(self, position: Position) -> bool:
        """Whether a record counts in all that can be answered, since it lies below the floor."""
        end, _ = self.ends.get((position.log_number, position.partition), (0, 0))
        return position.offset < end and position.effective_ms <= self.time_ms

    def raised(self, positions: NDArray[np.int64]) -> "Floor":
        """The floor from which on the records at `positions` (n, 5) must count too."""
        ends = dict(self.ends)
        for log, time_ms, partition, offset, _ in positions.tolist():
            end, greatest_ms = ends.get((log, partition), (0, time_ms))
            ends[log, partition] = max(end, offset + 1), max(greatest_ms, time_ms)
        return Floor(MappingProxyType(ends))

    def as_array(self) -> NDArray[np.int64]:
        """(n, 4) int64: log number, partition, offset, time."""
        rows = [(*place, *end) for place, end in sorted(self.ends.items())]
        return np.array(rows, np.int64).reshape(-1, 4)

    @classmethod
    def of_array(cls, rows: NDArray[np.int64]) -> "Floor":
        """What `as_array` made."""
        return cls(MappingProxyType({(log, p): (end, time_ms) for log, p, end, time_ms in rows.tolist()}))


class HistoryGoneError(LookalikeError):
    """Records that an earlier time needs are not kept any more.

    Attributes:
        offsets: of the newest log, the lowest that can be answered, by partition; 0 where a partition is not named.
        time_ms: the earliest time that can be answered.
    """

    def __init__(self, offsets: dict[int, int], time_ms: int) -> None:
        super().__init__(f"What is asked for is earlier than what is kept: offsets {offsets}, time {time_ms} ms.")
        self.offsets = offsets
        self.time_ms = time_ms


def highest(
    ids: NDArray[np.int64], positions: NDArray[np.int64], among: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Numbers of the records that win, one for each id.

    Args:
        ids: (n,) small numbers from 0 on, equal where records are of one id.
        positions: (n, 5), the fields of `Position`, no two alike.
        among: numbers of the records that count; None for all.
    """
    numbers = np.arange(len(ids)) if among is None else among
    several = _several(ids[numbers])
    order = numbers[several][_ascending(ids[numbers[several]], positions[numbers[several]])]
    is_last = np.append(np.diff(ids[order]) != 0, True)[: len(order)]
    alone = np.ones(len(numbers), np.bool_)
    alone[several] = False
    return np.concatenate([numbers[alone], order[is_last]])


def due(
    ids: NDArray[np.int64], positions: NDArray[np.int64], *, horizon_ms: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which records need not be kept, (n,) bool; and the numbers of those that must count from then on.

    Args:
        ids, positions: as for `highest`; of every id also the record that it means.
        horizon_ms: the effective time from which on everything is kept.
    """
    several = _several(ids)
    order = several[_ascending(ids[several], positions[several])]
    old = order[positions[order, _EFFECTIVE_MS] <= horizon_ms]
    tops = old[np.append(np.diff(ids[old]) != 0, True)[: len(old)]]
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(order))
    top_of = np.full(int(ids.max(initial=-1)) + 1, -1, np.int64)
    top_of[ids[tops]] = place[tops]
    is_due = np.zeros(len(ids), np.bool_)
    is_due[order] = place[order] < top_of[ids[order]]
    return is_due, tops[np.isin(ids[tops], ids[is_due])]


def first_replaced_ms(ids: NDArray[np.int64], positions: NDArray[np.int64]) -> int | None:
    """The effective time of the first record that replaced another one of its id; None where each id has one record.

    Args: as for `highest`.
    """
    several = _several(ids)
    order = several[_ascending(ids[several], positions[several])]
    replacing = order[1:][np.diff(ids[order]) == 0]
    return int(positions[replacing, _EFFECTIVE_MS].min()) if len(replacing) else None


def _several(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the records that are not alone with their id: few as a rule, and sorting costs ten times as much as counting."""
    return np.flatnonzero(np.bincount(ids)[ids] > 1) if len(ids) else np.zeros(0, np.int64)


def _ascending(ids: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of the records, those of one id together, the one that wins last."""
    return np.lexsort((*positions.T[::-1], ids))
