"""One generation in memory: exact Euclidean search over base and tail, and look-up by id."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.generations.base import Base
from gallery.generations.fold import Entry, Position
from gallery.generations.manifest import Manifest
from gallery.generations.tail import Tail
from gallery.nearest.neighbours import Nearest
from gallery.nearest.tree import frozen


@dataclass(frozen=True)
class Match:
    """One neighbour.

    Attributes:
        distance: Euclidean, from float64 arithmetic on the stored float32 embedding.
        source: the record that brought the image.
    """

    image_id: str
    distance: float
    source: RecordKey
    kafka_time_ms: int


@dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery by its id.

    Attributes:
        embedding: (d,) float32.
    """

    image_id: str
    embedding: NDArray[np.float32]
    source: RecordKey
    kafka_time_ms: int


class Snapshot:
    """What one generation holds. Never changes, although the tail's arrays behind it go on growing."""

    def __init__(self, manifest: Manifest, tail: Tail) -> None:
        self.manifest = manifest
        self._tail = tail
        self._entry_count = n = len(tail.entries)
        self._entries = tail.entries
        self._appended = tail.appended.first(n)
        self._embeddings = self._appended.embeddings
        self._is_live = frozen(tail.is_live[:n].copy())
        self._base_is_live = frozen(tail.base_is_live.copy())

    @property
    def base(self) -> Base:
        """The base under the tail."""
        return self._tail.base

    @property
    def entries(self) -> list[Entry]:
        """The tail's entries, superseded ones too."""
        return [self._entries[number].entry for number in range(self._entry_count)]

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """The tail's embeddings (m, d) float32, one row an entry."""
        return self._embeddings

    @property
    def count(self) -> int:
        """Images that can be found."""
        return self.manifest.count

    @property
    def dimensions(self) -> int:
        """Numbers in an embedding."""
        return int(self.base.neighbours.embeddings.shape[1])

    def search(self, query: NDArray[np.float32], k: int, max_distance: float | None = None) -> list[Match]:
        """The k nearest images, nearest first, ties in the byte order of their ids.

        Args:
            query: (d,) float32, finite.
            k: at least 1; fewer come back when the gallery holds fewer.
            max_distance: leave out what is farther away.
        """
        base_distances, base_rows = self.base.neighbours.nearest(query, k, self._base_is_live, max_distance)
        live, entries = self.base.live, self._entries
        found = [
            (distance, live.id_bytes(row), live.position(row))
            for distance, row in zip(base_distances.tolist(), base_rows.tolist(), strict=True)
        ]
        if self._entry_count:
            # Beyond the base's k-th nothing of the tail can be among the k nearest.
            farthest = max_distance if len(found) < k else found[-1][0]
            tail_distances, tail_numbers = self._search_tail(query, k, farthest)
            for distance, number in zip(tail_distances.tolist(), tail_numbers.tolist(), strict=True):
                entry = entries[number].entry
                found.append((distance, entry.image_id.encode(), entry.position))
            found.sort()
        return [self._match(image_id.decode(), distance, position) for distance, image_id, position in found[:k]]

    def find(self, image_id: str) -> GalleryImage | None:
        """The image of this id, None when it is unknown or deleted."""
        number = self._tail.find(image_id)
        if number >= self._entry_count:  # the id was written again since this generation was published
            numbers = (n for n in reversed(range(self._entry_count)) if self._entries[n].entry.image_id == image_id)
            number = next(numbers, -1)
        if number >= 0:
            is_live, row, embedding = self._is_live[number], -1, self._embeddings[number]
        else:
            row = self.base.live.find(image_id.encode())
            if row < 0:
                return None
            is_live, embedding = True, self.base.neighbours.embeddings_of(np.array([row]))[0]
        if not is_live:
            return None
        position = self._position(row, number)
        return GalleryImage(image_id, embedding, self._source(position), position.kafka_time_ms)

    def newest(self, n: int) -> list[Match]:
        """Up to n images of the tail that arrived last, newest first; their distance is 0."""
        numbers = np.flatnonzero(self._is_live)[-n:][::-1].tolist()
        entries = [self._entries[number].entry for number in numbers]
        return [self._match(entry.image_id, 0.0, entry.position) for entry in entries]

    def contents(self) -> Iterator[tuple[str, tuple[Position, bytes]]]:
        """Every image that can be found: id, position, and embedding as little-endian float32 bytes."""
        rows, numbers = self.live_rows()
        for row, embedding in zip(rows.tolist(), self.base.neighbours.embeddings_of(rows), strict=True):
            yield self.base.live.id_bytes(row).decode(), (self._position(row, -1), embedding.tobytes())
        for number in numbers.tolist():
            entry = self._entries[number].entry
            yield entry.image_id, (entry.position, self._embeddings[number].tobytes())

    def deleted(self) -> dict[bytes, Position]:
        """Deletes that are remembered, by id: what the base remembers unless the tail speaks of the id, and the tail's own."""
        old = self.base.deleted
        found = {old.id_bytes(row): old.position(row) for row in range(len(old))}
        for entry in self.entries:
            found.pop(entry.image_id.encode(), None)
            if entry.embedding is None:
                found[entry.image_id.encode()] = entry.position
        return found

    def live_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the base and numbers of the tail's entries that can be found."""
        return np.flatnonzero(self._base_is_live), np.flatnonzero(self._is_live)

    def _search_tail(self, query: NDArray[np.float32], k: int, max_distance: float | None) -> Nearest:
        """Distances and entry numbers of the k nearest live entries and of all that tie with the last of them.

        Entries are not in the order of ids, so which of those that tie come first is decided by the caller.
        """
        wanted = k
        while True:
            distances, numbers = self._appended.nearest(query, wanted, self._is_live, max_distance)
            if len(distances) < wanted or distances[k - 1] < distances[-1] or wanted > self._entry_count:
                return distances, numbers
            wanted = min(4 * wanted, self._entry_count + 1)

    def _position(self, row: int, number: int) -> Position:
        return self.base.live.position(row) if number < 0 else self._entries[number].entry.position

    def _source(self, position: Position) -> RecordKey:
        return RecordKey(self.manifest.logs[position.log_number].log, position.partition, position.offset)

    def _match(self, image_id: str, distance: float, position: Position) -> Match:
        return Match(image_id, distance, self._source(position), position.kafka_time_ms)
