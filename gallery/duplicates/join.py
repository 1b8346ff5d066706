"""Which images lie within a distance of which others: all compared with all, block by block, exactly.

Distances are computed by matrix products in float32. What those cannot tell from the limit, or from one another, is computed
again in float64, first by products and at last by differences: answers are those of brute force in float64. Rows come in an
order of preference, the best first, and whatever is asked is asked of a row and those before it. So output is bounded by the
number of rows, however many pairs are near.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A product of these two takes 16 MiB in float32, and up to 32 more in float64.
BLOCK_ROWS, CHUNK_ROWS = 1024, 4096
# Differences of so many pairs at once: 32 MiB at 256 dimensions.
_PAIRS_AT_ONCE = 16_384

Advance = Callable[[float], object]


@dataclass(frozen=True)
class NearestBefore:
    """For each of n rows the nearest ones before it, at most `count` of them.

    Attributes:
        rows: (n, count) int64, nearest first, equally near ones in their order; -1 where there are no more.
        distances: (n, count) float64; infinite where there are no more.
        has_near: (n,) bool: of rows that have another one within the distance, true; rounding makes it true of few others.
    """

    rows: NDArray[np.int64]
    distances: NDArray[np.float64]
    has_near: NDArray[np.bool_]


def exact_distances(
    embeddings: NDArray[np.float32], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Distances (m,) float64 of pairs of rows, by differences in float64."""
    found = np.empty(len(one))
    for at in range(0, len(one), _PAIRS_AT_ONCE):
        part = slice(at, at + _PAIRS_AT_ONCE)
        difference = embeddings[one[part]].astype(np.float64) - embeddings[other[part]]
        found[part] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return found


def nearest_before(
    embeddings: NDArray[np.float32], max_distance: float, count: int, advance: Advance = lambda _: None
) -> NearestBefore:
    """For each row the nearest `count` rows before it that are not beyond `max_distance`.

    Args:
        embeddings: (n, d) float32, finite, the best first.
        advance: is told the share of the work that was just done, all in all 1.
    """
    n = len(embeddings)
    same = _Same(embeddings, count)
    found = NearestBefore(np.full((n, count), -1), np.full((n, count), np.inf), same.has_equal.copy())
    products = _Products(embeddings[same.kept], max_distance)
    for begin in range(0, len(same.kept), BLOCK_ROWS):
        block = slice(begin, min(begin + BLOCK_ROWS, len(same.kept)))
        hits = [products.nearest(block, chunk, count) for chunk in _chunks(block.stop)]
        rows, columns = (np.concatenate([hit[side] for hit in hits]) for side in (0, 1))
        distances = exact_distances(embeddings, same.kept[rows], same.kept[columns])
        is_near = distances <= max_distance
        rows, columns, distances = rows[is_near], columns[is_near], distances[is_near]
        order = np.lexsort((columns, distances, rows))
        rows, columns, distances = rows[order], columns[order], distances[order]
        place = np.arange(len(rows)) - np.searchsorted(rows, rows)
        first = place < count
        to = same.kept[rows[first]], place[first]
        found.rows[to], found.distances[to] = same.kept[columns[first]], distances[first]
        advance((block.stop**2 - begin**2) / len(same.kept) ** 2)
    found.has_near[same.kept] |= products.has_near
    same.fill(found)
    return found


def stars(
    embeddings: NDArray[np.float32],
    max_distance: float,
    apart: Mapping[int, Set[int]],
    advance: Advance = lambda _: None,
) -> NDArray[np.int64]:
    """For each row the centre that it belongs to, or the row itself.

    In the order of rows, each that belongs to none yet becomes a centre, and all later ones within the distance that belong to
    none yet belong to it. So members are near their centre, and near ones never make chains.

    Args:
        embeddings: (n, d) float32, finite, the best first.
        apart: rows that must not come together with a row.
        advance: is told the share of the rows that was just decided.

    Returns:
        (n,) int64.
    """
    centre_of = np.full(len(embeddings), -1)
    products = _Products(embeddings, max_distance)
    left = np.arange(len(embeddings))
    while len(left):
        before = len(left)
        block, left = left[:BLOCK_ROWS], left[BLOCK_ROWS:]
        within = _allowed(products.within(block, block), block, block, apart)
        centres = []
        for number, row in enumerate(block):
            if centre_of[row] < 0:
                centre_of[row] = row
                centres.append(row)
                later = block[number + 1 :][within[number, number + 1 :]]
                centre_of[later[centre_of[later] < 0]] = row
        for begin in range(0, len(left), CHUNK_ROWS):
            rest = left[begin : begin + CHUNK_ROWS]
            chosen = np.array(centres)
            within = _allowed(products.within(chosen, rest), chosen, rest, apart)
            taken = within.any(0)
            centre_of[rest[taken]] = chosen[within.argmax(0)[taken]]
        left = left[centre_of[left] < 0]
        advance((before - len(left)) / len(embeddings))
    return centre_of


def _allowed(
    within: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64], apart: Mapping[int, Set[int]]
) -> NDArray[np.bool_]:
    """`within` (rows, columns) without the pairs that must not come together; columns ascend."""
    for number, row in enumerate(rows) if apart else ():
        others = np.array(sorted(apart.get(int(row), ())), np.int64)
        places = np.searchsorted(columns, others)
        is_here = places < len(columns)
        is_here[is_here] = columns[places[is_here]] == others[is_here]
        within[number, places[is_here]] = False
    return within


def _chunks(stop: int) -> Iterator[slice]:
    for begin in range(0, stop, CHUNK_ROWS):
        yield slice(begin, min(begin + CHUNK_ROWS, stop))


class _Same:
    """Rows with equal embeddings: only the first `count` of each kind need be compared, since the nearest of the others are these.

    Attributes:
        kept: rows that are compared, ascending.
        has_equal: (n,) bool: another row has the same embedding.
    """

    def __init__(self, embeddings: NDArray[np.float32], count: int) -> None:
        n, d = embeddings.shape
        # Adding 0 makes -0 and 0 the same bytes.
        kinds = (np.ascontiguousarray(embeddings) + np.float32(0)).view(np.dtype((np.void, 4 * d))).ravel()
        _, kind_of, sizes = np.unique(kinds, return_inverse=True, return_counts=True)
        self._by_kind = np.argsort(kind_of, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        self._kind_of = kind_of
        places = np.empty(n, np.int64)
        places[self._by_kind] = np.arange(n) - np.repeat(self._starts, sizes)
        self._count = count
        self._is_kept = places < count
        self.kept = np.flatnonzero(self._is_kept)
        self.has_equal: NDArray[np.bool_] = sizes[kind_of] > 1

    def fill(self, found: NearestBefore) -> None:
        """Answer for the rows that were not compared."""
        others = np.flatnonzero(~self._is_kept)
        starts = self._starts[self._kind_of[others]]
        for place in range(self._count):
            found.rows[others, place] = self._by_kind[starts + place]
            found.distances[others, place] = 0


class _Products:
    """Squared distances by products of matrices, and how far they can be trusted.

    All is scaled by a power of two, so that the longest embedding is at most 1 and neither squares nor their sums overflow.
    A product of d numbers is off by at most d roundings of its factors' lengths; eight times as much is allowed.
    """

    def __init__(self, embeddings: NDArray[np.float32], max_distance: float) -> None:
        n, d = embeddings.shape
        self._embeddings = embeddings
        self._max_distance = max_distance
        longest = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings, dtype=np.float64).max(initial=0.0))
        exponent = int(np.ceil(np.log2(longest))) if longest else 0
        self._scaled: NDArray[np.float32] = np.ldexp(embeddings, -exponent)
        self._squares = np.einsum("ij,ij->i", self._scaled, self._scaled, dtype=np.float64)
        # Beyond 2 there is nothing, and a limit that is larger would cost digits.
        self._limit = min(float(np.ldexp(max_distance, -exponent)), 4.0) ** 2
        self._margin = 8 * (d + 4) * float(np.finfo(np.float32).eps)
        self._fine_margin = 8 * (d + 4) * float(np.finfo(np.float64).eps) + 2 * float(np.finfo(np.float32).tiny)
        self.has_near = np.zeros(n, bool)

    def nearest(self, block: slice, chunk: slice, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs (rows of the block, earlier rows of the chunk), with among others the nearest `count` within the limit of each row."""
        none = np.empty(0, np.int64)
        squared = self._squared(block, chunk)
        close = squared <= self._limit + self._margin
        if chunk.stop > block.start:
            close &= np.arange(chunk.start, chunk.stop) < np.arange(block.start, block.stop)[:, None]
        if not close.any():
            return none, none
        rows, columns = np.flatnonzero(close.any(1)), np.flatnonzero(close.any(0))
        self.has_near[rows + block.start] = True
        self.has_near[columns + chunk.start] = True
        fine = self._fine(rows + block.start, columns + chunk.start)
        fine[~close[np.ix_(rows, columns)]] = np.inf
        worst = np.partition(fine, count - 1, 1)[:, count - 1 : count] if len(columns) > count else np.inf
        among = (fine <= worst + 2 * self._fine_margin) & (fine <= self._limit + self._fine_margin)
        found_rows, found_columns = np.nonzero(among)
        return rows[found_rows] + block.start, columns[found_columns] + chunk.start

    def within(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of the rows is within the distance of each of the columns: (rows, columns) bool."""
        squared = self._squared(rows, columns)
        near: NDArray[np.bool_] = squared <= self._limit - self._margin
        unsure = np.abs(squared - np.float32(self._limit)) <= 2 * self._margin
        if unsure.any():
            some, others = np.flatnonzero(unsure.any(1)), np.flatnonzero(unsure.any(0))
            fine = self._fine(rows[some], columns[others])
            here = np.ix_(some, others)
            near[here] = np.where(unsure[here], fine <= self._limit, near[here])
            one, other = np.nonzero(unsure[here] & (np.abs(fine - self._limit) <= self._fine_margin))
            exact = exact_distances(self._embeddings, rows[some[one]], columns[others[other]])
            near[some[one], others[other]] = exact <= self._max_distance
        return near

    def _squared(self, rows: Any, columns: Any) -> NDArray[np.float32]:
        """Squared distances in float32: one product, and the squares beside it."""
        squared: NDArray[np.float32] = (self._scaled[rows] * np.float32(-2)) @ self._scaled[columns].T
        squared += self._squares[rows, None].astype(np.float32)
        squared += self._squares[columns].astype(np.float32)
        return squared

    def _fine(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """The same in float64."""
        product: NDArray[np.float64] = self._scaled[rows].astype(np.float64) @ self._scaled[columns].T.astype(
            np.float64
        )
        product *= -2
        product += self._squares[rows, None]
        product += self._squares[columns]
        return product
