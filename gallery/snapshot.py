"""One generation in memory: exact Euclidean search over base and tail, and look-up by id."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gallery.base import DIMENSIONS, Base
from gallery.fold import Entry, Position
from gallery.manifest import Manifest
from gallery.neighbours import nearest_rows
from gallery.rows import RecordKey
from gallery.tail import Tail

# Bound on the relative rounding error of |e|² - 2 e·q + |q|² in float32, whatever the order of its 128 additions.
_ROUNDING = (DIMENSIONS + 8) * 2.0**-23


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
class Found:
    """An image of the gallery by its id.

    Attributes:
        embedding: (128,) float32.
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
        self._embeddings = tail.embeddings[:n]
        self._squared_norms = tail.squared_norms[:n]
        self._is_live = tail.is_live[:n].copy()
        self._base_is_live = tail.base_is_live.copy()
        self._base_dead_count = tail.base_dead_count

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
        """The tail's embeddings (m, 128) float32, one row an entry."""
        return self._embeddings

    @property
    def count(self) -> int:
        """Images that can be found."""
        return self.manifest.count

    def search(self, query: NDArray[np.float32], k: int, max_distance: float | None = None) -> list[Match]:
        """The k nearest images, nearest first, ties in the byte order of their ids.

        Args:
            query: (128,) float32, finite.
            k: at least 1; fewer come back when the gallery holds fewer.
            max_distance: leave out what is farther away.
        """
        base_rows, base_distances = self._search_base(query, k)
        tail_numbers, tail_distances = self._search_tail(query, k)
        candidates = [
            *((d, self.base.live.id_bytes(row), row, -1) for d, row in zip(base_distances, base_rows, strict=True)),
            *(
                (d, self._entries[number].entry.image_id.encode(), -1, number)
                for d, number in zip(tail_distances, tail_numbers, strict=True)
            ),
        ]
        return [
            self._match(image_id.decode(), float(distance), self._position(row, number))
            for distance, image_id, row, number in sorted(candidates)[:k]
            if max_distance is None or distance <= max_distance
        ]

    def find(self, image_id: str) -> Found | None:
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
            is_live, embedding = True, self.base.embeddings[row]
        if not is_live:
            return None
        position = self._position(row, number)
        return Found(image_id, embedding, self._source(position), position.kafka_time_ms)

    def newest(self, n: int) -> list[Match]:
        """Up to n images of the tail that arrived last, newest first; their distance is 0."""
        numbers = np.flatnonzero(self._is_live)[-n:][::-1].tolist()
        entries = [self._entries[number].entry for number in numbers]
        return [self._match(entry.image_id, 0.0, entry.position) for entry in entries]

    def contents(self) -> Iterator[tuple[str, tuple[Position, bytes]]]:
        """Every image that can be found: id, position, and embedding as little-endian float32 bytes."""
        rows, numbers = self.live_rows()
        for row in rows.tolist():
            yield self.base.live.id_bytes(row).decode(), (self._position(row, -1), self.base.embeddings[row].tobytes())
        for number in numbers.tolist():
            entry = self._entries[number].entry
            yield entry.image_id, (entry.position, self._embeddings[number].tobytes())

    def live_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the base and numbers of the tail's entries that can be found."""
        return np.flatnonzero(self._base_is_live), np.flatnonzero(self._is_live)

    def _search_base(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Live rows that hold the k nearest and all that tie with the last of them."""
        tree, n = self.base.tree, len(self.base.live)
        if tree is None:
            return np.zeros(0, np.int64), np.zeros(0)
        wanted = min(n, k + 8)
        while True:
            tree_distances, rows = nearest_rows(tree, query, wanted)
            live = self._base_is_live[rows]
            # All that tie are here once something farther is; the tree's own rounding is far below the margin.
            is_enough = live.sum() >= k and tree_distances[live][k - 1] * (1 + 1e-9) < tree_distances[-1]
            if wanted == n or is_enough:
                rows = rows[live]
                return rows, distances(self.base.embeddings[rows], query)
            wanted = min(n, wanted * 2 + self._base_dead_count)

    def _search_tail(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Live entries among which the k nearest are, found in float32 with a bound on its rounding."""
        numbers = np.flatnonzero(self._is_live)
        if len(numbers) > k:
            with np.errstate(over="ignore", invalid="ignore"):
                query_norm = query @ query
                squares = (self._squared_norms - 2 * (self._embeddings @ query) + query_norm)[numbers]
                largest = float(self._squared_norms[numbers].max())
                slack = _ROUNDING * (np.sqrt(largest) + np.sqrt(float(query_norm))) ** 2
                threshold = np.partition(squares, k - 1)[k - 1] + 2 * slack
            if np.isfinite(threshold):
                numbers = numbers[squares <= threshold]
        return numbers, distances(self._embeddings[numbers], query)

    def _position(self, row: int, number: int) -> Position:
        return self.base.live.position(row) if number < 0 else self._entries[number].entry.position

    def _source(self, position: Position) -> RecordKey:
        return RecordKey(self.manifest.logs[position.log_number].log, position.partition, position.offset)

    def _match(self, image_id: str, distance: float, position: Position) -> Match:
        return Match(image_id, distance, self._source(position), position.kafka_time_ms)


def distances(embeddings: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Euclidean distances (n,) float64 between `embeddings` (n, d) and `query` (d,), each row summed alike."""
    differences = embeddings.astype(np.float64) - query.astype(np.float64)
    result: NDArray[np.float64] = np.sqrt((differences * differences).sum(axis=1))
    return result
