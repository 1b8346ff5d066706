"""How much of what searches in a table should have found they found: measured on some of them, against all rows of the table."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gallery.generations.snapshot import Match
from gallery.store.embeddings import EmbeddingRow
from gallery.table.snapshot import TableSnapshot, distances_to

PAGE_ROWS = 256


@dataclass
class SampledSearch:
    """A search whose answer is compared with brute force.

    Attributes:
        effort: that it was answered with.
        query: (d,) float32.
        k: how many were asked for.
        matches: what was found, nearest first.
        snapshot: what was covered when it was asked.
    """

    effort: str
    query: NDArray[np.float32]
    k: int
    matches: Sequence[Match]
    snapshot: TableSnapshot
    _nearest: list[tuple[float, str]] = field(default_factory=list)
    _kept: set[str] = field(default_factory=set)

    def take(self, rows: Sequence[EmbeddingRow], by_id: Mapping[str, EmbeddingRow]) -> None:
        """Look at some rows of the table, which `by_id` has too. What came after the search is passed over."""
        found = set()
        for match in self.matches:
            row = by_id.get(match.image_id)
            if row is not None and (match.source.partition, match.source.offset) == (row.position[2], row.position[3]):
                found.add(match.image_id)
        self._kept |= found
        distances = distances_to(self.query, rows)
        farthest = self._nearest[-1][0] if len(self._nearest) == self.k else np.inf
        keyed = [
            (float(distances[number]), rows[number].image_id)
            for number in np.flatnonzero(distances <= farthest).tolist()
            if rows[number].image_id in found or self.snapshot.covers_row(rows[number])
        ]
        self._nearest = sorted(self._nearest + keyed)[: self.k]

    def recall(self) -> float | None:
        """Once all rows were looked at: which part of those that are still there was found; None where there are none.

        An image that was found and is gone since took a place that another one would have had.
        """
        gone = len(self.matches) - len(self._kept)
        due = self._nearest[: max(0, self.k - gone)]
        if not due:
            return None
        # Of equally far ones each is as right as another.
        found = sum(match.distance <= due[-1][0] for match in self.matches if match.image_id in self._kept)
        return min(1.0, found / len(due))


def measured(searches: Sequence[SampledSearch]) -> Generator[int]:
    """Compare searches in one table with all of its rows, a page for each step; tells how many rows were read."""
    for page in searches[0].snapshot.table.pages(PAGE_ROWS):
        by_id = {row.image_id: row for row in page}
        for search in searches:
            if page:
                search.take(page, by_id)
        yield PAGE_ROWS
