"""Earlier records of a base's ids: what answers as of an earlier time need beside it."""

import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.generations.asked_metadata import AskedRows
from gallery.generations.columns import COLUMNS_FILE, Columns, build_columns, load_columns
from gallery.generations.files import mapped_bytes
from gallery.generations.history import Floor
from gallery.generations.id_table import IdTable
from gallery.nearest.neighbours import Neighbours, build_neighbours, load_neighbours
from gallery.nearest.tree import mapped


@dataclass(frozen=True)
class Replaced:
    """Records that their ids do not mean any more.

    Attributes:
        puts, deletes: by id, then by position; an id may be in both, and often.
        puts_of, deletes_of: (n,) int64, for each the row that has its id, as `Base.row` counts them.
        neighbours: embeddings of `puts`, searchable.
        floor: what was dropped, in words of what can still be answered.
        columns_content: what the file of `columns` holds, mapped; None without a file.
    """

    puts: IdTable
    deletes: IdTable
    puts_of: NDArray[np.int64]
    deletes_of: NDArray[np.int64]
    neighbours: Neighbours
    floor: Floor
    columns_content: NDArray[np.uint8] | None = None

    @cached_property
    def columns(self) -> Columns:
        """Metadata of `puts`, by its rows; read when they are first asked for.

        Raises:
            IndexDamagedError: they are not as a writer writes them.
        """
        return build_columns([]) if self.columns_content is None else load_columns(self.columns_content, len(self.puts))

    @cached_property
    def asked(self) -> AskedRows:
        """The rows of `puts`, to be asked for their metadata."""
        itself = weakref.proxy(self)  # see Tail
        return AskedRows(len(self.puts), lambda: itself.columns, self.puts.rows_of_ids)


def nothing_replaced(dimensions: int) -> Replaced:
    """Where no id has an earlier record."""
    nothing, of_nothing = IdTable.build([], []), np.zeros(0, np.int64)
    neighbours = build_neighbours(np.zeros((0, dimensions), np.float32))
    return Replaced(nothing, nothing, of_nothing, of_nothing, neighbours, Floor())


def save_replaced(folder: Path, replaced: Replaced, columns: Columns) -> None:
    """Write everything into a new folder.

    Args:
        columns: metadata of `puts`, by its rows.
    """
    folder.mkdir()
    replaced.puts.save(folder, "puts")
    replaced.deletes.save(folder, "deletes")
    columns.save(folder)
    replaced.neighbours.save(folder)
    np.save(folder / "puts-of.npy", replaced.puts_of, allow_pickle=False)
    np.save(folder / "deletes-of.npy", replaced.deletes_of, allow_pickle=False)
    np.save(folder / "floor.npy", replaced.floor.as_array(), allow_pickle=False)


def load_replaced(folder: Path, dimensions: int) -> Replaced:
    """Map what `save_replaced` wrote.

    Raises:
        IndexDamagedError: a file is missing or does not fit the others.
    """
    found = Replaced(
        puts=IdTable.load(folder, "puts"),
        deletes=IdTable.load(folder, "deletes"),
        puts_of=mapped(folder / "puts-of.npy"),
        deletes_of=mapped(folder / "deletes-of.npy"),
        neighbours=load_neighbours(folder),
        floor=Floor.of_array(mapped(folder / "floor.npy")),
        columns_content=mapped_bytes(folder / COLUMNS_FILE),
    )
    shapes = (found.neighbours.embeddings.shape, found.puts_of.shape, found.deletes_of.shape)
    if shapes != ((len(found.puts), dimensions), (len(found.puts),), (len(found.deletes),)):
        raise IndexDamagedError(
            f"{folder} holds {len(found.puts)} puts, {len(found.deletes)} deletes and arrays of {shapes}, expected {dimensions} "
            "dimensions."
        )
    return found
