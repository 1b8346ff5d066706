"""What a table of embeddings covers at one moment, and searches in what the table holds by then."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from cassandra import InvalidRequest
from numpy.typing import NDArray

from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.generations.asked_metadata import AskedRows, Condition
from gallery.generations.columns import build_columns
from gallery.generations.flattened import metadata_checksum
from gallery.generations.fold import Position
from gallery.generations.snapshot import GalleryImage, Match, Snapshot
from gallery.store.embeddings import CANDIDATES_MAX, FACTS_MAX, EmbeddingRow, EmbeddingTable
from gallery.table.manifest import TableManifest

_SCAN_ROWS = 512


class TableCondition(Condition, Protocol):
    """What a search in a table may be asked for; `gallery.filters.Filter` is one."""

    def facts(self) -> Sequence[int]:
        """Facts that every image has for which it holds."""

    def ids(self) -> frozenset[str] | None:
        """Of these ids is every image for which it holds; None for any."""


@dataclass(frozen=True)
class TableNearest:
    """What one search found.

    Attributes:
        candidates: how many rows Cassandra was asked for.
        is_cut_short: the filter left fewer than wanted of them, and others farther away may be there.
    """

    matches: list[Match]
    candidates: int
    is_cut_short: bool = False


class TableSnapshot:
    """What a table covers. Its searches find that, as far as Cassandra does; what came a moment later may have taken the place of some.

    Whatever asks Cassandra blocks, and raises DependencyError when it fails.
    """

    def __init__(self, manifest: TableManifest, table: EmbeddingTable) -> None:
        self.manifest = manifest
        self.table = table

    @property
    def count(self) -> int:
        """Images that can be found."""
        return self.manifest.count

    @property
    def dimensions(self) -> int:
        """Numbers in an embedding."""
        return self.manifest.dimensions

    def find(self, image_id: str) -> GalleryImage | None:
        """The image of this id, None when it is unknown or deleted."""
        with _asking():
            for row in self._there(self.table.read([image_id])):
                place = Position(*row.position)
                return GalleryImage(image_id, _embedding(row), self._source(place), place.kafka_time_ms)
        return None

    def newest(self, n: int) -> list[Match]:
        """Up to n of the images that came last, newest first; their distance is 0. Asks nobody."""
        return [
            Match(each.image_id, 0.0, self._source(each.position), each.position.kafka_time_ms)
            for each in reversed(self.manifest.newest[-n:])
        ]

    def nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        candidates: int,
        max_distance: float | None = None,
        condition: TableCondition | None = None,
    ) -> TableNearest:
        """About the k nearest images, nearest first, ties in the byte order of their ids; their distances are exact.

        Args:
            query: (d,) float32, finite.
            candidates: how many rows Cassandra is asked for, at least k; more where a filter leaves too few of them.
        """
        with _asking():
            if condition is None:
                rows = self.table.nearest(query, candidates)
                return TableNearest(self._ranked(query, rows, k, max_distance), candidates)
            if (ids := condition.ids()) is not None:
                rows = _holding(condition, self.table.read(sorted(ids), with_metadata=True))
                return TableNearest(self._ranked(query, rows, k, max_distance), len(ids))
            facts = condition.facts()[:FACTS_MAX]
            for wanted in (candidates, CANDIDATES_MAX):
                found = self.table.nearest(query, wanted, facts, with_metadata=True)
                rows = _holding(condition, found)
                # Of fewer than were asked for there are no more.
                if len(rows) >= k or len(found) < wanted:
                    return TableNearest(self._ranked(query, rows, k, max_distance), wanted)
            return TableNearest(self._ranked(query, rows, k, max_distance), CANDIDATES_MAX, is_cut_short=True)

    def contents(self) -> Iterator[tuple[str, tuple[Position, bytes]]]:
        """Every image that is in the table now: id, position, and embedding as little-endian float32 bytes."""
        for row in self._scanned():
            assert row.embedding is not None
            yield row.image_id, (Position(*row.position), row.embedding)

    def metadata_checksums(self) -> Iterator[tuple[str, int]]:
        """Every image that is in the table now: id, and the `metadata_checksum` of its metadata."""
        for row in self._scanned(with_metadata=True):
            yield row.image_id, metadata_checksum(row.metadata)

    def covers_row(self, row: EmbeddingRow) -> bool:
        """Whether the record that a row comes from is covered."""
        place = Position(*row.position)
        if place.log_number >= len(self.manifest.logs):
            return False
        partition = self.manifest.logs[place.log_number].partitions.get(str(place.partition))
        return partition is not None and place.offset < partition.next_offset

    def _there(self, rows: Iterable[EmbeddingRow]) -> list[EmbeddingRow]:
        """Without images of ids that had none by what is covered: they come with the next coverage."""
        return [row for row in rows if row.before is not None or self.covers_row(row)]

    def _scanned(self, *, with_metadata: bool = False) -> Iterator[EmbeddingRow]:
        with _asking():
            for page in self.table.pages(_SCAN_ROWS, with_metadata=with_metadata):
                yield from page

    def _ranked(
        self, query: NDArray[np.float32], rows: Sequence[EmbeddingRow], k: int, max_distance: float | None
    ) -> list[Match]:
        there = self._there(rows)
        found = sorted(
            (distance, row.image_id.encode(), Position(*row.position))
            for distance, row in zip(distances_to(query, there).tolist(), there, strict=True)
            if max_distance is None or distance <= max_distance
        )
        return [
            Match(image_id.decode(), distance, self._source(place), place.kafka_time_ms)
            for distance, image_id, place in found[:k]
        ]

    def _source(self, place: Position) -> RecordKey:
        logs = self.manifest.logs
        # A log that began a moment ago is in the table before it is covered.
        log = logs[place.log_number].log if place.log_number < len(logs) else self.manifest.log
        return RecordKey(log, place.partition, place.offset)


# What a question may be answered from.
AnySnapshot = Snapshot | TableSnapshot


def distances_to(query: NDArray[np.float32], rows: Sequence[EmbeddingRow]) -> NDArray[np.float64]:
    """Euclidean distances (n,) of rows with embeddings, from float64 arithmetic on float32."""
    embeddings = np.frombuffer(b"".join(row.embedding or b"" for row in rows), "<f4").reshape(len(rows), len(query))
    differences = embeddings.astype(np.float64) - query.astype(np.float64)
    return np.asarray(np.sqrt(np.square(differences).sum(axis=1)))


def _embedding(row: EmbeddingRow) -> NDArray[np.float32]:
    assert row.embedding is not None
    return np.frombuffer(row.embedding, "<f4")


def _holding(condition: Condition, rows: Sequence[EmbeddingRow]) -> list[EmbeddingRow]:
    def find_ids(ids: object) -> list[int]:
        return [number for number, row in enumerate(rows) if row.image_id in ids]  # type: ignore[operator]

    columns: Callable[[], object] = lambda: build_columns([row.metadata for row in rows])  # noqa: E731
    holds = condition.holds(AskedRows(len(rows), columns, find_ids))  # type: ignore[arg-type]
    return [row for row, does in zip(rows, holds.tolist(), strict=True) if does]


@contextmanager
def _asking() -> Iterator[None]:
    """A table that was built anew is gone a moment after another one answers."""
    try:
        yield
    except InvalidRequest as error:
        raise DependencyError("cassandra", f"the table of embeddings cannot be asked: {error}") from error
