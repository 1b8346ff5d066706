"""The tail: what changed since the base, as one append-only file and as arrays that grow.

An entry is a fixed head, the image id and the metadata in UTF-8, and for a put the embedding as little-endian float32. It names
the row of the base that has its id, so that a reader need not look ids up. A file belongs to one base.
"""

import struct
import weakref
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.generations.asked_metadata import AskedEntries
from gallery.generations.base import Base
from gallery.generations.fold import Entry, Position
from gallery.nearest.appended import AppendedEmbeddings, doubled
from runtime.planted import planted

_HEAD = struct.Struct("<BHIqqqqqq")  # kind, sizes of id and metadata, Position, row of the base or -1
_IS_PUT, _IS_LATE = 1, 2


class TailEntry(NamedTuple):
    """An entry and the row of the base that has its id, as `Base.row` counts them."""

    entry: Entry
    base_row: int


def encode_entries(entries: Iterable[TailEntry]) -> bytes:
    """Entries as they stand in the file."""
    parts = []
    for (image_id, position, embedding, metadata, is_late), base_row in entries:
        name, text = image_id.encode(), metadata.encode()
        kind = _IS_PUT * (embedding is not None) + _IS_LATE * is_late
        parts += [_HEAD.pack(kind, len(name), len(text), *position, base_row), name, text, embedding or b""]
    return b"".join(parts)


def read_entries(file: BinaryIO, size_bytes: int, dimensions: int) -> Iterator[TailEntry]:
    """Read the entries that take the next `size_bytes` of a file, one after the other.

    Raises:
        IndexDamagedError: the bytes do not end with an entry, or hold one of an unknown kind.
        OSError: the file cannot be read.
    """
    at = 0
    try:
        while at < size_bytes:
            kind, id_size, metadata_size, *numbers, base_row = _HEAD.unpack(file.read(_HEAD.size))
            if kind > _IS_PUT + _IS_LATE:
                raise struct.error(f"the entry is of kind {kind}")
            metadata_end = id_size + metadata_size
            size = metadata_end + (dimensions * 4 if kind & _IS_PUT else 0)
            body = file.read(size)
            if len(body) < size or at + _HEAD.size + size > size_bytes:
                raise struct.error("the last entry is cut short")
            image_id, metadata = body[:id_size].decode(), body[id_size:metadata_end].decode()
            embedding = body[metadata_end:] if kind & _IS_PUT else None
            entry = Entry(image_id, Position(*numbers), embedding, metadata, bool(kind & _IS_LATE))
            yield TailEntry(entry, base_row)
            at += _HEAD.size + size
    except (struct.error, UnicodeDecodeError) as error:
        raise IndexDamagedError(f"The tail cannot be read at byte {at}: {error}.") from error


class _Texts:
    """Texts one after the other, 8 bytes and their own UTF-8 each: as objects they take 60 bytes more. Grows at its end only."""

    def __init__(self) -> None:
        self._blob, self._ends = bytearray(), array("q", [0])

    def append(self, text: str) -> None:
        self._blob += text.encode()
        self._ends.append(len(self._blob))

    def __getitem__(self, number: int) -> bytes:
        return bytes(self._blob[self._ends[number] : self._ends[number + 1]])


class Tail:
    """Entries over one base in memory. Grows at its end only, so that views of a prefix stay valid.

    Attributes:
        dimensions: of an embedding.
        count_of_entries: superseded ones too.
        appended: their embeddings, one an entry; zeros for a delete.
        is_live: (capacity,) bool: a put that no later entry supersedes.
        base_is_live: (rows of the base,) bool: rows that no entry supersedes.
        is_put: (capacity,) bool.
        positions: (capacity, 5) int64, the fields of `Position`.
        id_numbers: (capacity,) int64, equal where entries have the same id: the base's row, or behind those the first entry.
        asked: the entries, to be asked for their metadata.
    """

    def __init__(self, base: Base) -> None:
        self.base = base
        self.count_of_entries = 0
        self.dimensions = base.neighbours.embeddings.shape[1]
        self.appended = AppendedEmbeddings(self.dimensions, base.neighbours.contraction)
        self.is_live = np.zeros(256, bool)
        self.base_is_live = np.ones(len(base.live), bool)
        self.base_dead_count = 0
        self.is_put, self._is_late = np.zeros(256, bool), np.zeros(256, bool)
        self.positions = np.zeros((256, len(Position._fields)), np.int64)
        self.id_numbers = np.zeros(256, np.int64)
        self._ids, self._metadata = _Texts(), _Texts()
        self._last: dict[str, int] = {}
        # Without holding the tail, so that it and its base end with the last who holds them, and not when cycles are looked for.
        itself = weakref.proxy(self)
        self.asked = AskedEntries(lambda number: itself.entry(number))

    def append(self, entries: Iterable[TailEntry]) -> None:
        """Take entries in the order of the file.

        Raises:
            IndexDamagedError: an embedding is not as many finite numbers as the base's; nothing was taken.
        """
        added = list(entries)
        embeddings = _embeddings_of(added, self.dimensions)
        while self.count_of_entries + len(added) > len(self.is_live):
            self.is_live, self.is_put, self._is_late = map(doubled, (self.is_live, self.is_put, self._is_late))
            self.positions, self.id_numbers = doubled(self.positions), doubled(self.id_numbers)
        for tail_entry in added:
            self._take(tail_entry)
        self.appended.append(embeddings)

    def supersede(self, entries: Iterable[Entry]) -> list[TailEntry]:
        """Say which row of the base has the id of each entry."""
        return [TailEntry(entry, self.base.row(entry.image_id.encode())) for entry in entries]

    def entry(self, number: int) -> Entry:
        """An entry; a put's embedding is b"" here, since `appended` holds it."""
        embedding = b"" if self.is_put[number] else None
        image_id, metadata = self._ids[number].decode(), self.metadata(number)
        return Entry(image_id, self.position(number), embedding, metadata, bool(self._is_late[number]))

    def metadata(self, number: int) -> str:
        """An entry's metadata."""
        return self._metadata[number].decode()

    def entries_between(self, start: int, end: int) -> list[Entry]:
        """The entries of these numbers, `end` not among them, with their embeddings."""
        entries, embeddings = map(self.entry, range(start, end)), self.appended.embeddings[start:end]
        return [
            entry if entry.embedding is None else entry._replace(embedding=embedding.astype("<f4").tobytes())
            for entry, embedding in zip(entries, embeddings, strict=True)
        ]

    def numbers(self, image_id: str, among: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Numbers of the entries of `image_id` that are `among` the first ones (n,)."""
        last = self._last.get(image_id)
        id_number = self.base.row(image_id.encode()) if last is None else self.id_numbers[last]
        return np.flatnonzero(among & (self.id_numbers[: len(among)] == id_number))

    def id_bytes(self, number: int) -> bytes:
        """An entry's image id in UTF-8."""
        return self._ids[number]

    def position(self, number: int) -> Position:
        """An entry's record."""
        return Position(*self.positions[number].tolist())

    def latest(self, image_id: str) -> Position | None:
        """The record that `image_id` means in tail and base together, a delete included."""
        number = self._last.get(image_id)
        return self.base.position(image_id.encode()) if number is None else self.position(number)

    def meant(self, image_id: str, base_row: int) -> tuple[Position, bytes] | None:
        """The record that `image_id` means and its embedding, None for a delete or an unknown id; `base_row` as of `TailEntry`."""
        number = self._last.get(image_id)
        if number is not None:
            is_put, embedding = self.is_put[number], self.appended.embeddings[number]
            return (self.position(number), embedding.astype("<f4").tobytes()) if is_put else None
        if not 0 <= base_row < len(self.base.live):
            return None
        embedding = self.base.neighbours.embeddings_of(np.array([base_row]))[0]
        return self.base.live.position(base_row), embedding.astype("<f4").tobytes()

    @property
    def count(self) -> int:
        """Images that can be found in tail and base together."""
        return len(self.base.live) - self.base_dead_count + int(self.is_live.sum())

    def _take(self, tail_entry: TailEntry) -> None:
        entry, base_row = tail_entry
        number, last = self.count_of_entries, self._last.get(entry.image_id)
        self.is_put[number], self.positions[number] = entry.embedding is not None, entry.position
        self._is_late[number] = entry.is_late
        if last is not None:
            self.id_numbers[number] = self.id_numbers[last]
        else:
            self.id_numbers[number] = base_row if base_row >= 0 else self.base.ids_count + number
        if not entry.is_late:
            self.is_live[number] = entry.embedding is not None
            if last is not None:
                self.is_live[last] &= planted("tail-keeps-replaced")
            elif 0 <= base_row < len(self.base.live):
                self.base_is_live[base_row] = False
                self.base_dead_count += 1
            self._last[entry.image_id] = number
        self._ids.append(entry.image_id)
        self._metadata.append(entry.metadata)
        self.count_of_entries += 1


def _embeddings_of(entries: list[TailEntry], dimensions: int) -> NDArray[np.float32]:
    """Their embeddings (n, d) float32, zeros for a delete."""
    embeddings = np.zeros((len(entries), dimensions), np.float32)
    for row, (entry, _) in zip(embeddings, entries, strict=True):
        if entry.embedding is not None:
            if len(entry.embedding) != row.nbytes:
                raise _bad_embedding(entry, f"{len(entry.embedding)} bytes", dimensions)
            row[:] = np.frombuffer(entry.embedding, "<f4")
    finite = np.isfinite(embeddings).all(1)
    if not finite.all():
        raise _bad_embedding(entries[int(finite.argmin())].entry, "numbers that are not finite", dimensions)
    return embeddings


def _bad_embedding(entry: Entry, what: str, dimensions: int) -> IndexDamagedError:
    return IndexDamagedError(
        f"The embedding of {entry.image_id!r} (partition {entry.position.partition}, offset {entry.position.offset}) has {what}, "
        f"expected {dimensions} finite float32. Its feed row was altered, or its encoder has a bug."
    )
