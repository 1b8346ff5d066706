"""A base: the bulk of a generation as read-only files, sorted by image id.

A folder holds, for the images that can be found and for the deletes that are remembered, their ids and positions, and for
the images their metadata as columns and their embeddings with what finds them. Row numbers follow the ids' byte order, so ties sort by row.
"""

import hashlib
import json
import mmap
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.generations.columns import COLUMNS_FILE, Columns, build_columns, load_columns
from gallery.generations.files import discard, open_file, read_whole
from gallery.generations.fold import Position
from gallery.nearest.neighbours import Neighbours, build_neighbours, load_neighbours
from gallery.nearest.tree import mapped

FILES_LIST = "files.json"


class IdTable:
    """Sorted image ids with the position that each one means.

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
        """The record that the row's id means."""
        return Position(*self.positions[row].tolist())

    def find(self, image_id: bytes) -> int:
        """Row of `image_id`, -1 when it is not here."""
        row = bisect_left(range(len(self)), image_id, key=self.id_bytes)
        return row if row < len(self) and self.id_bytes(row) == image_id else -1

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


@dataclass(frozen=True)
class Base:
    """One base, mapped read-only.

    Attributes:
        live: the images that can be found.
        deleted: the deletes that are remembered, since a slower partition may still bring an older put.
        neighbours: their embeddings (n, d) float32, searchable, one row for each of `live`.
        columns_content: what the file of `columns` holds, mapped; None without a file.
    """

    name: str
    live: IdTable
    deleted: IdTable
    neighbours: Neighbours
    columns_content: NDArray[np.uint8] | None = None

    @cached_property
    def columns(self) -> Columns:
        """Metadata of `live`, by its rows; read when they are first asked for.

        Raises:
            IndexDamagedError: they are not as a writer writes them.
        """
        return build_columns([]) if self.columns_content is None else load_columns(self.columns_content, len(self.live))

    def position(self, image_id: bytes) -> Position | None:
        """The record that `image_id` means here, a delete included."""
        for table in (self.live, self.deleted):
            row = table.find(image_id)
            if row >= 0:
                return table.position(row)
        return None


def empty_base(dimensions: int) -> Base:
    """The base before the first one is built."""
    nothing = IdTable.build([], [])
    return Base("", nothing, nothing, build_neighbours(np.zeros((0, dimensions), np.float32)))


def save_base(folder: Path, live: IdTable, deleted: IdTable, embeddings: NDArray[np.float32], columns: Columns) -> None:
    """Write a base and make it searchable; the folder appears whole, by rename.

    Args:
        embeddings: (n, d) float32, finite, one row for each of `live`.
        columns: metadata of `live`, by its rows.
    """
    unfinished = folder.with_name(f"{folder.name}.tmp")
    for leftover in (unfinished, folder):
        discard(leftover)
    unfinished.mkdir(parents=True)
    live.save(unfinished, "live")
    deleted.save(unfinished, "deleted")
    columns.save(unfinished)
    build_neighbours(embeddings).save(unfinished)
    sums = {path.name: _sha256(path) for path in sorted(unfinished.iterdir())}
    (unfinished / FILES_LIST).write_text(json.dumps(sums, indent=1))
    unfinished.rename(folder)


def base_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a base, as it was written.

    Raises:
        IndexDamagedError: the list cannot be read.
    """
    try:
        return msgspec.json.decode(read_whole(folder / FILES_LIST), type=dict[str, str])
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise IndexDamagedError(f"{folder / FILES_LIST} cannot be read: {error}.") from error


def load_base(folder: Path, files: dict[str, str], dimensions: int) -> Base:
    """Map a base after checking that its files are what the manifest says.

    Raises:
        IndexDamagedError: a file is missing, was altered, or does not fit the others.
    """
    for name, expected in files.items():
        try:
            found = _sha256(folder / name)
        except OSError as error:
            raise IndexDamagedError(f"{folder / name} cannot be read: {error}.") from error
        if found != expected:
            raise IndexDamagedError(f"{folder / name} has SHA-256 {found}, its manifest says {expected}.")
    base = Base(
        name=folder.name,
        live=IdTable.load(folder, "live"),
        deleted=IdTable.load(folder, "deleted"),
        neighbours=load_neighbours(folder),
        columns_content=_mapped_bytes(folder / COLUMNS_FILE),
    )
    if base.neighbours.embeddings.shape != (len(base.live), dimensions):
        raise IndexDamagedError(
            f"{folder} holds {len(base.live)} ids and {base.neighbours.embeddings.shape} embeddings, expected {dimensions} "
            "dimensions."
        )
    return base


def _mapped_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes, mapped read-only; they stay when the file is deleted.

    Raises:
        IndexDamagedError: the file is missing or empty.
    """
    try:
        with open_file(path) as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}.") from error


def _sha256(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
