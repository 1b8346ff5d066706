"""A base: the bulk of a generation as read-only files, sorted by image id.

A folder holds, for the images that can be found and for the deletes that are remembered, their ids and positions, and for
the images their metadata as columns and their embeddings with what finds them. Row numbers follow the ids' byte order, so ties sort by row.
Its folder ``replaced`` holds the same of earlier records of these ids, as far as they are kept.
"""

import hashlib
import json
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.generations.asked_metadata import AskedRows
from gallery.generations.columns import COLUMNS_FILE, Columns, build_columns, load_columns
from gallery.generations.files import discard, mapped_bytes, open_file, read_whole
from gallery.generations.fold import Position
from gallery.generations.id_table import IdTable
from gallery.generations.replaced import Replaced, load_replaced, nothing_replaced, save_replaced
from gallery.nearest.neighbours import Neighbours, build_neighbours, load_neighbours
from runtime.planted import planted

FILES_LIST = "files.json"
REPLACED = "replaced"


@dataclass(frozen=True)
class Base:
    """One base, mapped read-only.

    Attributes:
        live: the images that can be found.
        deleted: the deletes that are remembered, since a slower partition may still bring an older put.
        neighbours: their embeddings (n, d) float32, searchable, one row for each of `live`.
        replaced: earlier records of these ids.
        columns_content: what the file of `columns` holds, mapped; None without a file.
    """

    name: str
    live: IdTable
    deleted: IdTable
    neighbours: Neighbours
    replaced: Replaced
    columns_content: NDArray[np.uint8] | None = None

    @cached_property
    def columns(self) -> Columns:
        """Metadata of `live`, by its rows; read when they are first asked for.

        Raises:
            IndexDamagedError: they are not as a writer writes them.
        """
        return build_columns([]) if self.columns_content is None else load_columns(self.columns_content, len(self.live))

    @cached_property
    def asked(self) -> AskedRows:
        """The rows of `live`, to be asked for their metadata."""
        itself = weakref.proxy(self)  # see Tail
        return AskedRows(len(self.live), lambda: itself.columns, self.live.rows_of_ids)

    @property
    def ids_count(self) -> int:
        """Ids that are known here, those of remembered deletes included."""
        return len(self.live) + len(self.deleted)

    def row(self, image_id: bytes) -> int:
        """Row of `live` that has this id, or, counted on behind those, of `deleted`; -1 for none."""
        row = self.live.find(image_id)
        if row < 0 <= (deleted := self.deleted.find(image_id)):
            row = len(self.live) + deleted
        return row

    def position(self, image_id: bytes) -> Position | None:
        """The record that `image_id` means here, a delete included."""
        row = self.row(image_id)
        if row < 0 or (row >= len(self.live) and planted("base-forgets-deletes")):
            return None
        return self.live.position(row) if row < len(self.live) else self.deleted.position(row - len(self.live))


def empty_base(dimensions: int) -> Base:
    """The base before the first one is built."""
    nothing = IdTable.build([], [])
    neighbours = build_neighbours(np.zeros((0, dimensions), np.float32))
    return Base("", nothing, nothing, neighbours, nothing_replaced(dimensions))


def save_base(
    folder: Path,
    live: IdTable,
    deleted: IdTable,
    embeddings: NDArray[np.float32],
    columns: Columns,
    replaced: Replaced | None = None,
    replaced_columns: Columns | None = None,
) -> None:
    """Write a base and make it searchable; the folder appears whole, by rename.

    Args:
        embeddings: (n, d) float32, finite, one row for each of `live`.
        columns: metadata of `live`, by its rows.
        replaced: earlier records of these ids; None for none.
        replaced_columns: metadata of its puts, by their rows.
    """
    unfinished = folder.with_name(f"{folder.name}.tmp")
    for leftover in (unfinished, folder):
        discard(leftover)
    unfinished.mkdir(parents=True)
    live.save(unfinished, "live")
    deleted.save(unfinished, "deleted")
    columns.save(unfinished)
    build_neighbours(embeddings).save(unfinished)
    save_replaced(
        unfinished / REPLACED, replaced or nothing_replaced(embeddings.shape[1]), replaced_columns or build_columns([])
    )
    files = sorted(path for path in unfinished.rglob("*") if path.is_file())
    sums = {path.relative_to(unfinished).as_posix(): _sha256(path) for path in files}
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
        replaced=load_replaced(folder / REPLACED, dimensions),
        columns_content=mapped_bytes(folder / COLUMNS_FILE),
    )
    if base.neighbours.embeddings.shape != (len(base.live), dimensions):
        raise IndexDamagedError(
            f"{folder} holds {len(base.live)} ids and {base.neighbours.embeddings.shape} embeddings, expected {dimensions} "
            "dimensions."
        )
    for of in (base.replaced.puts_of, base.replaced.deletes_of):
        if len(of) and not 0 <= of.min() <= of.max() < base.ids_count:
            raise IndexDamagedError(f"{folder / REPLACED} holds records of ids that its base does not have.")
    return base


def _sha256(path: Path) -> str:
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
