"""Embeddings that are appended one after the other, searched beside a base: the tail's part of a search.

Codes exclude them, as they do in a leaf of the base's tree, and the contraction is the base's own, which serves any embedding:
32 rows take about as long as looking at one. So a tail costs little even when it has grown to a fifth of the base, and nothing
is rebuilt for that. Over a base without a tree all of them are read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gallery.nearest.contraction import COORDINATES, Contraction
from gallery.nearest.lanes import BLOCK, ROWS, fill_blocks
from gallery.nearest.neighbours import Nearest, nearest_of
from gallery.nearest.tree import frozen
from gallery.nearest.walk import sift


@dataclass(frozen=True)
class AppendedPrefix:
    """The first n of `AppendedEmbeddings`; never changes. Without a contraction, blocks and codes mean nothing.

    Attributes:
        embeddings: (n, d) float32.
        numbers: (n,) int32, 0 to n - 1.
        blocks: (⌈n/32⌉, 256) int16; places from n on may change.
        codes: (n, 32) int16.
    """

    embeddings: NDArray[np.float32]
    numbers: NDArray[np.int32]
    blocks: NDArray[np.int16]
    codes: NDArray[np.int16]
    contraction: Contraction | None

    def nearest(
        self, query: NDArray[np.float32], k: int, is_live: NDArray[np.bool_], max_distance: float | None = None
    ) -> Nearest:
        """As `Neighbours.nearest`; a row is an embedding's number."""
        if self.contraction is None:
            return nearest_of(self.embeddings, query, k, is_live, max_distance)
        assert k >= 1 and self.embeddings.shape == (len(is_live), len(query)), (k, len(is_live), len(query))
        distances, rows = np.empty(k), np.empty(k, np.int64)
        count = sift(
            self.embeddings, self.numbers, frozen(is_live), self.blocks, self.codes,
            *self.contraction.arguments, np.array(query, np.float32),
            np.inf if max_distance is None else max_distance, distances, rows,
        )  # fmt: skip
        return distances[:count], rows[:count]


class AppendedEmbeddings:
    """Grows at its end only, so that what was taken of it stays as it was.

    Args:
        dimensions: d of the embeddings.
        contraction: of the base; None where it has no tree.
    """

    def __init__(self, dimensions: int, contraction: Contraction | None) -> None:
        self.count = 0
        self._contraction = contraction
        self._coded = 0
        self._embeddings = np.zeros((8 * ROWS, dimensions), np.float32)
        self._codes = np.zeros((8 * ROWS, COORDINATES), np.int16)
        self._blocks = np.zeros((8, BLOCK), np.int16)

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """All of them, (n, d) float32."""
        return frozen(self._embeddings[: self.count])

    def append(self, embeddings: NDArray[np.float32]) -> None:
        """Add embeddings (m, d) float32, finite."""
        start, self.count = self.count, self.count + len(embeddings)
        while self.count > len(self._embeddings):
            self._embeddings, self._codes = doubled(self._embeddings), doubled(self._codes)
            self._blocks = doubled(self._blocks)
        self._embeddings[start : self.count] = embeddings

    def first(self, n: int) -> AppendedPrefix:
        """The first n embeddings; codes those that have none yet, so that who only appends does not pay for it."""
        new = np.arange(self._coded, n)
        if self._contraction is not None and len(new):
            codes = self._contraction.codes(self._contraction.apply(self._embeddings[self._coded : n]))
            self._codes[self._coded : n] = codes
            fill_blocks(self._blocks, new // ROWS, new % ROWS, codes)
            self._coded = n
        return AppendedPrefix(
            frozen(self._embeddings[:n]),
            frozen(np.arange(n, dtype=np.int32)),
            frozen(self._blocks[: -(-n // ROWS)]),
            frozen(self._codes[:n]),
            self._contraction,
        )


def doubled(array: NDArray[Any]) -> NDArray[Any]:
    """The array with as many zeros behind it."""
    return np.concatenate([array, np.zeros_like(array)])
