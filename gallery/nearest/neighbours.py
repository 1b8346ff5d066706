"""Nearest neighbours, exact, of embeddings that never change or that come and go.

`Neighbours` searches many embeddings that never change, saved as plain arrays; `nearest_of` a few that come and go. Both
return what brute force in float64 over the original float32 would: sorted by (distance, row).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.embeddings import DIMENSIONS_MAX
from contract.errors import IndexDamagedError
from gallery.nearest.approximations import (
    Approximations,
    build_approximations,
    is_for_many,
    load_approximations,
    search_codes,
    search_codes_together,
)
from gallery.nearest.contraction import Contraction
from gallery.nearest.pick import pick
from gallery.nearest.tree import Tree, build_tree, frozen, load_tree, mapped
from gallery.nearest.walk import scan

# Distances (m,), ascending, and rows (m,).
Nearest = tuple[NDArray[np.float64], NDArray[np.int64]]

_SAMPLE_QUERIES = 64
# Nanoseconds for a box, a leaf, a block of 32 short codes, a code and an embedding met on the way, and for each number of an
# embedding in a scan: measured over 60,000 digits. Only their proportion matters.
_WALK_NS = np.array([7, 20, 11, 8, 100])
_SCAN_NS = 0.1
# The same for a block of codes and an embedding, each number of it, in a search among approximations.
_BLOCK_NS, _NUMBER_NS = 15, 0.4
# To find a query's own code, for each coordinate of each number.
_AIM_NS = 0.4
# How much of the embeddings tells what approximations would cost.
_SAMPLE_ROWS = 20_000
# Of chosen rows up to this share of all, each is looked at: its code in a tree, or else its embedding. Walking past the others
# would cost more.
_PICKED_SHARE_MAX, _SCANNED_SHARE_MAX = 0.25, 0.06


@dataclass(frozen=True)
class ChosenRows:
    """Rows among which is searched; `Neighbours.choose` makes it.

    Attributes:
        is_chosen: (n,) bool, by row.
        places: (m,) int32, where their embeddings lie, ascending; None where there are so many that walking is cheaper.
        count: m.
    """

    is_chosen: NDArray[np.bool_]
    places: NDArray[np.int32] | None
    count: int


@dataclass(frozen=True)
class Neighbours:
    """Embeddings that can be searched, read-only.

    Attributes:
        embeddings: (n, d) float32, in the order in which a search reads them: with a tree its own, else that of rows.
        row_of: (n,) int32, row number of each.
        tree: where the embeddings have a structure that it can use.
        approximations: where they have not, and are too many to read them all.
    """

    embeddings: NDArray[np.float32]
    row_of: NDArray[np.int32]
    tree: Tree | None
    approximations: Approximations | None

    @property
    def contraction(self) -> Contraction | None:
        """In which codes of other embeddings can be compared with a query; None where it does not pay."""
        coded = self.tree or self.approximations
        return coded.contraction if coded else None

    def nearest(
        self, query: NDArray[np.float32], k: int, is_live: NDArray[np.bool_], max_distance: float | None = None
    ) -> Nearest:
        """Distances and rows of the k nearest that are live and not beyond `max_distance`, sorted by (distance, row).

        Args:
            query: (d,) float32, finite.
            is_live: (n,) bool, by row.
        """
        return self._search(query, k, is_live, max_distance, np.zeros(5, np.int64))

    def choose(self, is_chosen: NDArray[np.bool_]) -> ChosenRows:
        """Rows (n,) bool among which many queries may search."""
        count = int(np.count_nonzero(is_chosen))
        is_few = count <= len(is_chosen) * (_SCANNED_SHARE_MAX if self.tree is None else _PICKED_SHARE_MAX)
        places = frozen(np.sort(self._place_of[np.flatnonzero(is_chosen)])) if is_few else None
        return ChosenRows(frozen(is_chosen), places, count)

    def nearest_chosen(
        self, query: NDArray[np.float32], k: int, chosen: ChosenRows, max_distance: float | None = None
    ) -> Nearest:
        """As `nearest`, among chosen rows."""
        if chosen.places is None:
            return self.nearest(query, k, chosen.is_chosen, max_distance)
        if self.tree is None:
            return nearest_of(self.embeddings, query, k, chosen.is_chosen, max_distance, chosen.places)
        _check(self.embeddings, query, k, chosen.is_chosen)
        k = min(k, max(1, chosen.count))
        distances, rows = np.empty(k), np.empty(k, np.int64)
        count = pick(
            self.embeddings, self.row_of, chosen.places, self.tree.codes, *self.tree.contraction.arguments,
            np.array(query, np.float32), np.inf if max_distance is None else max_distance, distances, rows,
        )  # fmt: skip
        return distances[:count], rows[:count]

    def nearest_all(
        self,
        queries: NDArray[np.float32],
        k: int,
        searched: NDArray[np.bool_] | ChosenRows,
        max_distances: NDArray[np.float64],
    ) -> list[Nearest]:
        """As `nearest` or `nearest_chosen`, of each of some queries (b, d); approximations are read once for all of them.

        Args:
            searched: rows that may be found, (n,) bool or chosen ones.
            max_distances: (b,), infinite where nothing is too far.
        """
        each = zip(queries, max_distances.tolist(), strict=True)
        if isinstance(searched, ChosenRows):
            if searched.places is not None:
                return [self.nearest_chosen(query, k, searched, farthest) for query, farthest in each]
            searched = searched.is_chosen
        if self.approximations is None or not is_for_many(queries, self.embeddings):
            return [self.nearest(query, k, searched, farthest) for query, farthest in each]
        _check(self.embeddings, queries[0], k, searched)
        codes = self.approximations
        return search_codes_together(
            self.embeddings, searched, codes.blocks, codes.contraction, queries, k, max_distances
        )

    def embeddings_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Embeddings (m, d) float32 of rows (m,)."""
        found: NDArray[np.float32] = self.embeddings[self._place_of[rows]]
        return found

    def save(self, folder: Path) -> None:
        """Write all arrays into `folder`."""
        np.save(folder / "embeddings.npy", self.embeddings, allow_pickle=False)
        if self.tree is not None:
            np.save(folder / "rows.npy", self.row_of, allow_pickle=False)
            self.tree.save(folder)
        if self.approximations is not None:
            self.approximations.save(folder)

    def _search(
        self,
        query: NDArray[np.float32],
        k: int,
        is_live: NDArray[np.bool_],
        max_distance: float | None,
        work: NDArray[np.int64],
    ) -> Nearest:
        _check(self.embeddings, query, k, is_live)
        farthest, query = np.inf if max_distance is None else max_distance, np.array(query, np.float32)
        if self.tree is not None:
            distances, rows = np.empty(k), np.empty(k, np.int64)
            count = self.tree.search(self.embeddings, self.row_of, is_live, query, farthest, distances, rows, work)
            return distances[:count], rows[:count]
        if self.approximations is not None:
            codes = self.approximations
            return search_codes(self.embeddings, is_live, codes.blocks, codes.contraction, query, k, farthest, work)
        return nearest_of(self.embeddings, query, k, is_live, max_distance)

    @cached_property
    def _place_of(self) -> NDArray[np.int32]:
        """(n,) place of each row in `embeddings`."""
        places = np.empty_like(self.row_of)
        places[self.row_of] = np.arange(len(places), dtype=np.int32)
        return places


def nearest_of(
    embeddings: NDArray[np.float32],
    query: NDArray[np.float32],
    k: int,
    is_live: NDArray[np.bool_],
    max_distance: float | None = None,
    places: NDArray[np.int32] | None = None,
) -> Nearest:
    """The same over embeddings (n, d) float32 as they are, by reading them all, or those at `places` (m,) int32."""
    _check(embeddings, query, k, is_live)
    distances, rows = np.empty(k), np.empty(k, np.int64)
    farthest = np.inf if max_distance is None else max_distance
    read = frozen(np.arange(len(embeddings), dtype=np.int32)) if places is None else places
    count = scan(frozen(embeddings), read, frozen(is_live), np.array(query, np.float32), farthest, distances, rows)
    return distances[:count], rows[:count]


def build_neighbours(embeddings: NDArray[np.float32]) -> Neighbours:
    """Make embeddings (n, d), finite, d <= 512, searchable; row numbers are their places in `embeddings`.

    Of a tree, approximations and neither, what costs least is kept, which is tried with some of the embeddings as queries.

    Raises:
        ValueError: a number is not finite, or there are too many dimensions.
    """
    n, d = embeddings.shape
    if not np.isfinite(embeddings).all() or not 1 <= d <= DIMENSIONS_MAX:
        raise ValueError(f"Embeddings must be finite and have 1 to {DIMENSIONS_MAX} dimensions, these have {d}.")
    plain = Neighbours(frozen(np.ascontiguousarray(embeddings)), frozen(np.arange(n, dtype=np.int32)), None, None)
    if not n:
        return plain
    tree, row_of = build_tree(embeddings)
    walked = Neighbours(frozen(embeddings[row_of]), frozen(row_of), tree, None)
    # A tree costs less, by row, the more there are; approximations cost each row the same.
    sample = plain.embeddings[:: -(-n // _SAMPLE_ROWS)]
    skimmed = replace(
        plain, embeddings=frozen(np.ascontiguousarray(sample)), approximations=build_approximations(sample)
    )
    costs = {
        "tree": _WALK_NS @ _work(walked) + _AIM_NS * d * tree.codes.shape[1],
        "approximations": np.array([_BLOCK_NS, _NUMBER_NS * d]) @ _work(skimmed)[:2] * (n / len(sample))
        + _AIM_NS * d * d,
        "neither": _SCAN_NS * n * d,
    }
    cheapest = min(costs, key=lambda name: float(costs[name]))
    if cheapest == "tree":
        return walked
    if cheapest == "neither":
        return plain
    return skimmed if n == len(sample) else replace(plain, approximations=build_approximations(embeddings))


def _work(neighbours: Neighbours) -> NDArray[np.float64]:
    """What a search meets on its way, on average of some of the embeddings as queries."""
    work, embeddings = np.zeros(5, np.int64), neighbours.embeddings
    all_live = frozen(np.ones(len(embeddings), np.bool_))
    queries = embeddings[:: -(-len(embeddings) // _SAMPLE_QUERIES)]
    for query in queries:
        neighbours._search(query, 10, all_live, None, work)
    return work / len(queries)


def load_neighbours(folder: Path) -> Neighbours:
    """Map what `save` wrote.

    Raises:
        IndexDamagedError: a file is not an array, or they do not fit together and searching them could crash.
    """
    embeddings, has_tree = mapped(folder / "embeddings.npy"), (folder / "rows.npy").exists()
    row_of = mapped(folder / "rows.npy") if has_tree else frozen(np.arange(sum(embeddings.shape[:1]), dtype=np.int32))
    tree = load_tree(folder) if has_tree else None
    has_codes = (folder / "codes-blocks.npy").exists()
    approximations = load_approximations(folder) if has_codes else None
    problem = _problem(embeddings, row_of, tree, approximations)
    if problem:
        raise IndexDamagedError(f"{folder} cannot be searched: {problem}.")
    return Neighbours(embeddings, row_of, tree, approximations)


def _check(embeddings: NDArray[np.float32], query: NDArray[np.float32], k: int, is_live: NDArray[np.bool_]) -> None:
    """What is compiled reads memory without looking at sizes."""
    assert k >= 1 and embeddings.shape == (len(is_live), len(query)), (k, embeddings.shape, is_live.shape, query.shape)


def _problem(
    embeddings: NDArray[np.float32],
    row_of: NDArray[np.int32],
    tree: Tree | None,
    approximations: Approximations | None,
) -> str:
    if embeddings.ndim != 2 or embeddings.dtype != np.float32 or not embeddings.flags.c_contiguous:
        return f"embeddings are {embeddings.dtype} {embeddings.shape}"
    n, d = embeddings.shape
    if not 1 <= d <= DIMENSIONS_MAX:
        return f"embeddings have {d} dimensions"
    if row_of.shape != (n,) or row_of.dtype != np.int32:
        return f"row numbers are {row_of.dtype} {row_of.shape}"
    if n and (row_of.min() < 0 or row_of.max() >= n or np.bincount(row_of).max() > 1):
        return "row numbers are not those of the embeddings, each once"
    coded = tree or approximations
    return coded.problem(n, d) if coded else ""
