"""The tail: what changed since the base, as one append-only file and as growing arrays.

An entry is a fixed head, the image id in UTF-8, and for a put the embedding as 128 little-endian float32. It names the row of
the base that it supersedes, so that a reader need not look ids up. A file belongs to one base.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.base import DIMENSIONS, Base
from gallery.fold import Entry, Position

_HEAD = struct.Struct("<BHqqqqqq")  # is put, id size, Position, row of the base or -1
_EMBEDDING_SIZE_BYTES = DIMENSIONS * 4


class TailEntry(NamedTuple):
    """An entry and the row of the base that it supersedes, -1 for none."""

    entry: Entry
    base_row: int


def encode_entries(entries: Iterable[TailEntry]) -> bytes:
    """Entries as they stand in the file."""
    parts = []
    for (image_id, position, embedding), base_row in entries:
        name = image_id.encode()
        parts += [_HEAD.pack(embedding is not None, len(name), *position, base_row), name, embedding or b""]
    return b"".join(parts)


def decode_entries(blob: bytes) -> Iterator[TailEntry]:
    """Read entries back.

    Raises:
        IndexDamagedError: the bytes do not end with an entry.
    """
    at = 0
    try:
        while at < len(blob):
            is_put, size, *numbers, base_row = _HEAD.unpack_from(blob, at)
            name_end = at + _HEAD.size + size
            end = name_end + (_EMBEDDING_SIZE_BYTES if is_put else 0)
            if end > len(blob):
                raise struct.error("the last entry is cut short")
            image_id = blob[at + _HEAD.size : name_end].decode()
            yield TailEntry(Entry(image_id, Position(*numbers), blob[name_end:end] if is_put else None), base_row)
            at = end
    except (struct.error, UnicodeDecodeError) as error:
        raise IndexDamagedError(f"The tail cannot be read at byte {at}: {error}.") from error


class Tail:
    """Entries over one base in memory. Grows at its end only, so that views of a prefix stay valid.

    Attributes:
        entries: all entries, superseded ones too.
        embeddings: (capacity, 128) float32, one row an entry; zeros for a delete.
        squared_norms: (capacity,) float32, of `embeddings`.
        is_live: (capacity,) bool: a put that no later entry supersedes.
        base_is_live: (rows of the base,) bool: rows that no entry supersedes.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.entries: list[TailEntry] = []
        self.embeddings = np.zeros((256, DIMENSIONS), np.float32)
        self.squared_norms = np.zeros(256, np.float32)
        self.is_live = np.zeros(256, bool)
        self.base_is_live = np.ones(len(base.live), bool)
        self.base_dead_count = 0
        self._last: dict[str, int] = {}

    def append(self, entries: Iterable[TailEntry]) -> None:
        """Take entries in the order of the file."""
        for entry in entries:
            (image_id, _, embedding), base_row = entry
            number = len(self.entries)
            if number == len(self.embeddings):
                self.embeddings = _doubled(self.embeddings)
                self.squared_norms = _doubled(self.squared_norms)
                self.is_live = _doubled(self.is_live)
            if embedding is not None:
                vector = np.frombuffer(embedding, "<f4")
                self.embeddings[number] = vector
                self.squared_norms[number] = vector @ vector
                self.is_live[number] = True
            if image_id in self._last:
                self.is_live[self._last[image_id]] = False
            elif base_row >= 0:
                self.base_is_live[base_row] = False
                self.base_dead_count += 1
            self._last[image_id] = number
            self.entries.append(entry)

    def supersede(self, entries: Iterable[Entry]) -> list[TailEntry]:
        """Say which row of the base each entry supersedes."""
        return [TailEntry(entry, self.base.live.find(entry.image_id.encode())) for entry in entries]

    def find(self, image_id: str) -> int:
        """Number of the entry that `image_id` means, -1 when the tail does not speak of it."""
        return self._last.get(image_id, -1)

    def position(self, image_id: str) -> Position | None:
        """The record that `image_id` means in tail and base together, a delete included."""
        number = self.find(image_id)
        return self.entries[number].entry.position if number >= 0 else self.base.position(image_id.encode())

    @property
    def count(self) -> int:
        """Images that can be found in tail and base together."""
        return len(self.base.live) - self.base_dead_count + int(self.is_live.sum())


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([array, np.zeros_like(array)])
