"""Image ids with positions of their records, as arrays that are mapped read-only."""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.generations.fold import Position
from gallery.nearest.tree import mapped


class IdTable:
    """Sorted image ids, each with the position of a record.

    Attributes:
        positions: (n, 5) int64, the fields of `Position`.
    """

    def __init__(self, blob: NDArray[np.uint8], ends: NDArray[np.int64], positions: NDArray[np.int64]) -> None:
        self._blob = blob
        self._ends = ends
        self.positions = positions

    def __len__(self) -> int:
        return len(self._ends) - 1

    def id_bytes(self, row: int) -> bytes:
        """The row's image id in UTF-8."""
        return self._blob[self._ends[row] : self._ends[row + 1]].tobytes()

    def position(self, row: int) -> Position:
        """The row's record."""
        return Position(*self.positions[row].tolist())

    def find(self, image_id: bytes) -> int:
        """First row of `image_id`, -1 when it is not here."""
        return next(self.rows_of(image_id), -1)

    def rows_of(self, image_id: bytes) -> Iterator[int]:
        """All rows of `image_id`; of records that ids mean it is one at most."""
        row = bisect_left(range(len(self)), image_id, key=self.id_bytes)
        while row < len(self) and self.id_bytes(row) == image_id:
            yield row
            row += 1

    def rows_of_ids(self, ids: Collection[str]) -> list[int]:
        """Rows that have one of these ids."""
        return [row for image_id in ids for row in self.rows_of(image_id.encode())]

    def save(self, folder: Path, name: str) -> None:
        """Write the table's three arrays."""
        for part, array in (("ids", self._blob), ("ends", self._ends), ("positions", self.positions)):
            np.save(folder / f"{name}-{part}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, name: str) -> "IdTable":
        """Map a saved table read-only."""
        blob, ends, positions = (mapped(folder / f"{name}-{part}.npy") for part in ("ids", "ends", "positions"))
        return cls(blob, ends, positions)

    @classmethod
    def build(cls, sorted_ids: Sequence[bytes], positions: Sequence[Position] | NDArray[np.int64]) -> "IdTable":
        """A table over ids that are sorted already."""
        ends = np.zeros(len(sorted_ids) + 1, np.int64)
        np.cumsum([len(image_id) for image_id in sorted_ids], out=ends[1:])
        blob = np.frombuffer(b"".join(sorted_ids), np.uint8)
        return cls(blob, ends, np.array(positions, np.int64).reshape(-1, len(Position._fields)))
