"""All records that a generation keeps, numbered through: those that ids mean now, and those that an earlier time may mean."""

import numpy as np
from numpy.typing import NDArray

from gallery.generations.columns import Columns, build_columns, merge_columns
from gallery.generations.fold import Position
from gallery.generations.history import highest
from gallery.generations.tail import Tail


class Kept:
    """The records of a base and the beginning of its tail. In this order: images of the base, its deletes, puts and then
    deletes that those replaced, and the tail's entries.

    Args:
        entry_count: how many entries of the tail count.

    Attributes:
        ids: (n,) int64, equal where records have the same id.
        positions: (n, 5) int64, the fields of `Position`.
        is_put: (n,) bool.
        starts: (6,) where each of these parts begins, and the end.
    """

    def __init__(self, tail: Tail, entry_count: int) -> None:
        base, m = tail.base, entry_count
        self._tail = tail
        self._tables = (base.live, base.deleted, base.replaced.puts, base.replaced.deletes)
        sizes = [len(table) for table in self._tables]
        self.starts = np.cumsum([0, *sizes, m])
        self.ids = np.concatenate(
            [np.arange(base.ids_count), base.replaced.puts_of, base.replaced.deletes_of, tail.id_numbers[:m]]
        )
        self.positions = np.concatenate([*(table.positions for table in self._tables), tail.positions[:m]])
        self.is_put = np.concatenate([np.repeat([True, False, True, False], sizes), tail.is_put[:m]])

    def meant(self, included: NDArray[np.bool_] | None = None) -> NDArray[np.bool_]:
        """Which records their ids mean, (n,), when only those in `included` (n,) count; None for all."""
        meant = np.zeros(len(self.ids), np.bool_)
        meant[highest(self.ids, self.positions, None if included is None else np.flatnonzero(included))] = True
        return meant

    def image_ids(self, numbers: NDArray[np.int64]) -> list[bytes]:
        """The records' image ids in UTF-8."""
        parts, numbered = np.searchsorted(self.starts, numbers, "right") - 1, [*self._tables, self._tail]
        rows = numbers - self.starts[parts]
        return [numbered[part].id_bytes(row) for part, row in zip(parts.tolist(), rows.tolist(), strict=True)]

    def embeddings_of(self, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings (m, d) float32 of puts (m,)."""
        base, found = self._tail.base, np.empty((len(numbers), self._tail.dimensions), np.float32)
        live, _, puts, deletes, entries = self.starts[:5]
        for embeddings_of, start, end in (
            (base.neighbours.embeddings_of, live, self.starts[1]),
            (base.replaced.neighbours.embeddings_of, puts, deletes),
            (self._tail.appended.embeddings.__getitem__, entries, self.starts[5]),
        ):
            among = np.flatnonzero((numbers >= start) & (numbers < end))
            found[among] = embeddings_of(numbers[among] - start)
        return found

    def meaning(self, image_id: str) -> tuple[Position, bytes | None] | None:
        """The record that an id means, and its embedding as little-endian float32, None of a delete; None for an unknown id."""
        base, found = self._tail.base, []
        row = base.row(image_id.encode())
        if row >= 0:
            found.append((Position(*self.positions[row].tolist()), row))
        among = np.ones(len(self.ids) - self.starts[4], np.bool_)
        for number in self._tail.numbers(image_id, among).tolist():
            found.append((self._tail.position(number), number + int(self.starts[4])))
        if not found:
            return None
        position, number = max(found)
        if not self.is_put[number]:
            return position, None
        return position, self.embeddings_of(np.array([number]))[0].astype("<f4").tobytes()

    def columns_of(self, numbers: NDArray[np.int64]) -> Columns:
        """Metadata of puts (m,), by their places in `numbers`."""
        base, (live, deleted, puts, deletes, entries, end) = self._tail.base, self.starts.tolist()
        place = np.full(end, -1)
        place[numbers] = np.arange(len(numbers))
        added = np.flatnonzero(place[entries:] >= 0)
        metadata = [self._tail.metadata(number) for number in added.tolist()]
        return merge_columns(
            [
                (base.columns, place[live:deleted]),
                (base.replaced.columns, place[puts:deletes]),
                (build_columns(metadata), place[entries:][added]),
            ]
        )
