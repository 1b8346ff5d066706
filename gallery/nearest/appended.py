"""Embeddings that are appended one after the other, searched beside a base: the tail's part of a search.

Codes exclude them (`gallery/nearest/skim.py`), in the contraction of the base, which serves any embedding. So a tail costs little
even when it has grown to a fifth of the base, and nothing is rebuilt for that. Over a base without a contraction all are read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.nearest.approximations import is_for_many, search_codes, search_codes_together
from gallery.nearest.contraction import Contraction
from gallery.nearest.lanes import BYTE_ROWS, byte_blocks, put_bytes
from gallery.nearest.neighbours import Nearest, nearest_of
from gallery.nearest.tree import frozen

CODED_AT_ONCE = 1024


@dataclass(frozen=True)
class AppendedPrefix:
    """The first n of `AppendedEmbeddings`; never changes. Without a contraction, blocks mean nothing.

    Attributes:
        embeddings: (n, d) float32.
        blocks: their codes, see `byte_blocks`; those of rows from n on may change.
    """

    embeddings: NDArray[np.float32]
    blocks: NDArray[np.uint8]
    contraction: Contraction | None

    def nearest(
        self, query: NDArray[np.float32], k: int, is_live: NDArray[np.bool_], max_distance: float | None = None
    ) -> Nearest:
        """As `Neighbours.nearest`; a row is an embedding's number."""
        if self.contraction is None:
            return nearest_of(self.embeddings, query, k, is_live, max_distance)
        assert k >= 1 and self.embeddings.shape == (len(is_live), len(query)), (k, len(is_live), len(query))
        farthest, query = np.inf if max_distance is None else max_distance, np.array(query, np.float32)
        return search_codes(
            self.embeddings, frozen(is_live), self.blocks, self.contraction, query, k, farthest, np.zeros(2, np.int64)
        )

    def nearest_all(
        self, queries: NDArray[np.float32], k: int, is_live: NDArray[np.bool_], max_distances: NDArray[np.float64]
    ) -> list[Nearest]:
        """As `Neighbours.nearest_all`."""
        if self.contraction is None or not is_for_many(queries, self.embeddings):
            each = zip(queries, max_distances.tolist(), strict=True)
            return [self.nearest(query, k, is_live, farthest) for query, farthest in each]
        return search_codes_together(
            self.embeddings, frozen(is_live), self.blocks, self.contraction, queries, k, max_distances
        )


class AppendedEmbeddings:
    """Grows at its end only, so that what was taken of it stays as it was.

    Args:
        dimensions: d of the embeddings.
        contraction: of the base; None where it has none.
    """

    def __init__(self, dimensions: int, contraction: Contraction | None) -> None:
        self.count = 0
        self._contraction = contraction.in_bytes() if contraction else None
        self._coded = 0
        self._embeddings = np.zeros((32 * BYTE_ROWS, dimensions), np.float32)
        self._blocks = byte_blocks(32 * BYTE_ROWS, len(contraction.axes) if contraction else 0)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """All of them, (n, d) float32."""
        return frozen(self._embeddings[: self.count])

    def append(self, embeddings: NDArray[np.float32]) -> None:
        """Add embeddings (m, d) float32, finite."""
        start, self.count = self.count, self.count + len(embeddings)
        while self.count > len(self._embeddings):
            self._embeddings = doubled(self._embeddings)
            self._blocks = doubled(self._blocks, axis=1)
        self._embeddings[start : self.count] = embeddings

    def first(self, n: int) -> AppendedPrefix:
        """The first n embeddings; codes those that have none yet, so that who only appends does not pay for it."""
        if self._contraction is not None:
            # A few at a time: in float64, what becomes of 40,000 takes 200 MB.
            for start in range(self._coded, n, CODED_AT_ONCE):
                new = self._contraction.apply(self._embeddings[start : min(start + CODED_AT_ONCE, n)])
                put_bytes(self._blocks, start, self._contraction.codes(new))
            self._coded = max(n, self._coded)
        return AppendedPrefix(frozen(self._embeddings[:n]), frozen(self._blocks), self._contraction)


def doubled(array: NDArray[Any], axis: int = 0) -> NDArray[Any]:
    """The array with as many zeros behind it."""
    shape = list(array.shape)
    shape[axis] *= 2
    grown = np.zeros(shape, array.dtype)  # pages that nobody wrote to take no memory
    grown[(slice(None),) * axis + (slice(array.shape[axis]),)] = array
    return grown
