"""Which embeddings lie within which watches' distances: one product of matrices for all of them, then float64."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gallery.nearest.bounds import exact_distance
from gallery.store.watches import StoredWatch

# 64 MB of float32 at once.
_PRODUCT_NUMBERS_MAX = 16_000_000


class Near(NamedTuple):
    """An embedding within a watch's distance: the row of the one and the number of the other."""

    row: int
    watch: int
    distance: float


class Matcher:
    """Compares embeddings with all watches of one encoder. Exact: `distance` is what a search would answer.

    Args:
        dimensions: of the encoder; every watch's embedding has as many.
    """

    def __init__(self, watches: Sequence[StoredWatch], dimensions: int) -> None:
        self.watches = list(watches)
        blob = b"".join(watch.embedding for watch in watches)
        self._embeddings = np.frombuffer(blob, "<f4").reshape(-1, dimensions)
        self._max_distances = np.array([watch.max_distance for watch in watches], np.float64)
        with np.errstate(over="ignore"):
            self._limits = self._max_distances**2
        self._squares = _squares(self._embeddings)
        # A sum of d products in float32 is off by at most d · 2⁻²⁴ of the product of the norms; twice as much, for the rest.
        self._unit = (dimensions + 8) * 2.0**-23

    def near(self, embeddings: NDArray[np.float32]) -> Iterator[Near]:
        """All pairs within the watch's distance, by row and then by watch.

        Args:
            embeddings: (n, d) float32, finite.
        """
        if not self.watches:
            return
        rows_at_once = max(1, _PRODUCT_NUMBERS_MAX // len(self.watches))
        for begin in range(0, len(embeddings), rows_at_once):
            part = embeddings[begin : begin + rows_at_once]
            rows, numbers = self._candidates(part)
            for row, number in zip(rows.tolist(), numbers.tolist(), strict=True):
                distance = float(exact_distance(part, row, self._embeddings[number]))
                if distance <= self._max_distances[number]:
                    yield Near(begin + row, number, distance)

    def _candidates(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        squares = _squares(embeddings)
        with np.errstate(over="ignore", invalid="ignore"):
            far = embeddings @ self._embeddings.T
            far *= np.float32(-2.0)
            # From here on: the squared distance less its margin and the limit, so above 0 where the pair is surely too far.
            far += (squares * (1 - 2 * self._unit)).astype(np.float32)[:, None]
            far += (self._squares * (1 - 2 * self._unit) - self._limits).astype(np.float32)[None, :]
            margin = (self._unit * (squares.max(initial=0.0) + self._limits)).astype(np.float32)
            # What overflowed is no number, and is looked at.
            is_candidate = ~(far > margin[None, :])
        rows, numbers = np.nonzero(is_candidate)
        return rows, numbers


def _squares(embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Squared norms (n,) float64."""
    wide = embeddings.astype(np.float64)
    squares: NDArray[np.float64] = np.einsum("ij,ij->i", wide, wide)
    return squares
