"""One generation in memory: exact Euclidean search over base and tail, and look-up by id."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.generations.asked_metadata import Condition
from gallery.generations.base import Base
from gallery.generations.flattened import metadata_checksum
from gallery.generations.fold import Position
from gallery.generations.history import AsOf, HistoryGoneError
from gallery.generations.kept import Kept
from gallery.generations.manifest import Manifest
from gallery.generations.selection import Selection, Selections
from gallery.generations.tail import Tail
from gallery.nearest.neighbours import Nearest
from gallery.nearest.tree import frozen
from runtime.planted import planted

# Kept for one generation; what is costly of them, bases and tails keep.
FILTERED_SIZE_BYTES_MAX = 8 * 1024 * 1024
FILTERED_MAX = 32


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

    def __init__(self, manifest: Manifest, tail: Tail, selections: Selections) -> None:
        self.manifest = manifest
        self._tail = tail
        self._selections = selections
        self._entry_count = n = tail.count_of_entries
        self._appended = tail.appended.first(n)
        nothing_replaced = np.zeros(len(tail.base.replaced.puts), np.bool_)
        is_live = frozen(tail.is_live[:n].copy())
        in_tail = int(is_live.sum())
        self._now = Selection(
            frozen(tail.base_is_live.copy()),
            is_live,
            frozen(nothing_replaced),
            (manifest.count - in_tail, in_tail, 0),
            {},
        )
        self._filtered: OrderedDict[tuple[str, int], tuple[Selection, Selection]] = OrderedDict()
        self._filtered_lock = threading.Lock()

    @property
    def base(self) -> Base:
        """The base under the tail."""
        return self._tail.base

    @property
    def count(self) -> int:
        """Images that can be found."""
        return self.manifest.count

    @property
    def dimensions(self) -> int:
        """Numbers in an embedding."""
        return int(self.base.neighbours.embeddings.shape[1])

    def knows(self, as_of: AsOf) -> bool:
        """Whether `select` is quick, since the same time was asked for lately."""
        return self._selections.knows(as_of, self._newest_log)

    def select(self, as_of: AsOf) -> Selection:
        """What ids meant at an earlier time.

        Raises:
            HistoryGoneError: some of the records that this needs are not kept any more.
        """
        floor = self.base.replaced.floor
        if not floor.allows(as_of, self._newest_log):
            raise HistoryGoneError(floor.offsets(self._newest_log), floor.time_ms)
        return self._selections.select(as_of, self._entry_count, self._newest_log)

    def filtered(self, condition: Condition, selection: Selection | None = None) -> Selection:
        """The part of a selection for which a condition holds; kept, so that asking again costs nothing.

        Args:
            selection: None for all that ids mean now.

        Raises:
            IndexDamagedError: metadata are not as a writer writes them.
        """
        whole = selection or self._now
        key = condition.text, id(whole)  # which is held as long as its number is
        with self._filtered_lock:
            if key in self._filtered:
                self._filtered.move_to_end(key)
                return self._filtered[key][1]
        rows = self.base.asked.holding(condition) & whole.base
        few = self.base.neighbours.choose(rows)
        tail = self._tail.asked.holding(condition, self._entry_count) & whole.tail
        replaced = whole.replaced
        if whole.counts[2]:
            replaced = self.base.replaced.asked.holding(condition) & whole.replaced
        counts = few.count, int(np.count_nonzero(tail)), int(np.count_nonzero(replaced))
        found = Selection(few.is_chosen, frozen(tail), frozen(replaced), counts, whole.later, few)
        kept_max = FILTERED_SIZE_BYTES_MAX // (len(rows) + len(tail) + len(replaced) + 1)
        with self._filtered_lock:
            self._filtered[key] = whole, found
            while len(self._filtered) > max(1, min(FILTERED_MAX, kept_max)):
                self._filtered.popitem(last=False)
        return found

    def search(
        self, query: NDArray[np.float32], k: int, max_distance: float | None = None, selection: Selection | None = None
    ) -> list[Match]:
        """The k nearest images, nearest first, ties in the byte order of their ids.

        Args:
            query: (d,) float32, finite.
            k: at least 1; fewer come back when the gallery holds fewer.
            max_distance: leave out what is farther away.
            selection: what may be found; None for all that ids mean now.
        """
        return self.search_all(query[np.newaxis], k, max_distance, selection)[0]

    def search_all(
        self,
        queries: NDArray[np.float32],
        k: int,
        max_distance: float | None = None,
        selection: Selection | None = None,
    ) -> list[list[Match]]:
        """What `search` finds for each of some queries (b, d); where all of a base is read, it is read once for all of them."""
        chosen, base = selection or self._now, self.base
        _, in_tail, in_replaced = chosen.counts
        limits = np.full(len(queries), np.inf if max_distance is None else max_distance)
        searched = chosen.base if chosen.few is None else chosen.few
        of_base = base.neighbours.nearest_all(queries, k, searched, limits)
        found: list[_Near] = [[(base.live, *near)] for near in of_base]
        if in_replaced and not planted("as-of-forgets-replaced"):
            of_replaced = base.replaced.neighbours
            more = of_replaced.nearest_all(queries, k, chosen.replaced, _farthest(found, k, limits))
            found = [[*near, (base.replaced.puts, *also)] for near, also in zip(found, more, strict=True)]
        if in_tail:
            more = self._search_tail(queries, k, chosen.tail, _farthest(found, k, limits))
            found = [[*near, (self._tail, *also)] for near, also in zip(found, more, strict=True)]
        farthest = _farthest(found, k, limits).tolist()
        return [self._ranked(near, k, most) for near, most in zip(found, farthest, strict=True)]

    def _ranked(self, near: "_Near", k: int, farthest: float) -> list[Match]:
        """The k nearest of those found; ids and positions are read only of those that can be among them."""
        found = [
            (distance, part.id_bytes(row), part.position(row))
            for part, distances, rows in near
            for distance, row in zip(distances.tolist(), rows.tolist(), strict=True)
            if distance <= farthest
        ]
        found.sort()
        if planted("search-reverses-ties"):
            found.sort(key=lambda each: each[0], reverse=True)
            found.reverse()
        if planted("search-in-float32"):
            found = [(float(np.float32(distance)), *rest) for distance, *rest in found]  # type: ignore[misc]
        return [self._match(image_id.decode(), distance, position) for distance, image_id, position in found[:k]]

    def find(self, image_id: str, selection: Selection | None = None) -> GalleryImage | None:
        """The image of this id, None when it is unknown or deleted.

        Args:
            selection: of which it is one; None for all that ids mean now.
        """
        chosen, base, name = selection or self._now, self.base, image_id.encode()
        for number in self._tail.numbers(image_id, chosen.tail).tolist():
            return self._image(image_id, self._tail.position(number), self._appended.embeddings[number])
        for table, neighbours, is_chosen in (
            (base.live, base.neighbours, chosen.base),
            (base.replaced.puts, base.replaced.neighbours, chosen.replaced),
        ):
            for row in table.rows_of(name):
                if is_chosen[row]:
                    return self._image(image_id, table.position(row), neighbours.embeddings_of(np.array([row]))[0])
        return None

    def newest(self, n: int) -> list[Match]:
        """Up to n images of the tail that arrived last, newest first; their distance is 0."""
        numbers = np.flatnonzero(self._now.tail)[-n:][::-1].tolist()
        entries = map(self._tail.entry, numbers)
        return [self._match(entry.image_id, 0.0, entry.position) for entry in entries]

    def contents(self) -> Iterator[tuple[str, tuple[Position, bytes]]]:
        """Every image that can be found: id, position, and embedding as little-endian float32 bytes."""
        live, tail = self._now.base, self._now.tail
        rows, numbers = np.flatnonzero(live), np.flatnonzero(tail)
        for row, embedding in zip(rows.tolist(), self.base.neighbours.embeddings_of(rows), strict=True):
            yield self.base.live.id_bytes(row).decode(), (self.base.live.position(row), embedding.tobytes())
        for number in numbers.tolist():
            entry = self._tail.entry(number)
            yield entry.image_id, (entry.position, self._appended.embeddings[number].tobytes())

    def metadata_checksums(self) -> Iterator[tuple[str, int]]:
        """Every image that can be found: id, and the `metadata_checksum` of its metadata."""
        told = self.base.columns.checksums(len(self.base.live))
        for row in np.flatnonzero(self._now.base).tolist():
            yield self.base.live.id_bytes(row).decode(), int(told[row])
        for number in np.flatnonzero(self._now.tail).tolist():
            entry = self._tail.entry(number)
            yield entry.image_id, metadata_checksum(entry.metadata)

    def kept(self) -> Kept:
        """All records that the generation keeps, earlier ones of ids too."""
        return Kept(self._tail, self._entry_count)

    def deleted(self) -> dict[bytes, Position]:
        """Deletes that are remembered, by id."""
        kept = self.kept()
        numbers = np.flatnonzero(kept.meant() & ~kept.is_put)
        positions = (Position(*position) for position in kept.positions[numbers].tolist())
        return dict(zip(kept.image_ids(numbers), positions, strict=True))

    @property
    def _newest_log(self) -> int:
        return len(self.manifest.logs) - 1

    def _search_tail(
        self, queries: NDArray[np.float32], k: int, is_chosen: NDArray[np.bool_], farthest: NDArray[np.float64]
    ) -> list[Nearest]:
        """Distances and entry numbers of the k nearest chosen entries and of all that tie with the last of them.

        Entries are not in the order of ids, so which of those that tie come first is decided by the caller.
        """
        wanted = min(k, self._entry_count) + 1
        found = self._appended.nearest_all(queries, wanted, is_chosen, farthest)
        for number, (distances, _) in enumerate(found):
            more = wanted
            while len(distances) == more and distances[k - 1] == distances[-1]:
                more = min(4 * more, self._entry_count + 1)
                found[number] = self._appended.nearest(queries[number], more, is_chosen, float(farthest[number]))
                distances = found[number][0]
        return found

    def _source(self, position: Position) -> RecordKey:
        return RecordKey(self.manifest.logs[position.log_number].log, position.partition, position.offset)

    def _image(self, image_id: str, position: Position, embedding: NDArray[np.float32]) -> GalleryImage:
        return GalleryImage(image_id, embedding, self._source(position), position.kafka_time_ms)

    def _match(self, image_id: str, distance: float, position: Position) -> Match:
        return Match(image_id, distance, self._source(position), position.kafka_time_ms)


class _Records(Protocol):
    """What can say of a row its image id and its record."""

    def id_bytes(self, row: int) -> bytes: ...

    def position(self, row: int) -> Position: ...


# What one query found: by where it was found, distances and rows.
_Near = list[tuple[_Records, NDArray[np.float64], NDArray[np.int64]]]


def _farthest(found: Sequence[_Near], k: int, limits: NDArray[np.float64]) -> NDArray[np.float64]:
    """By query, the distance beyond which nothing can be among its k nearest, at most its limit."""
    farthest = limits.copy()
    for number, near in enumerate(found):
        distances = near[0][1] if len(near) == 1 else np.concatenate([part for _, part, _ in near])
        if len(distances) >= k:
            farthest[number] = np.partition(distances, k - 1)[k - 1]
    return farthest
