"""Approximations: a code of a byte for each coordinate of each embedding, for embeddings that no tree divides.

R. Weber, H.-J. Schek and S. Blott call them a VA-file (A Quantitative Analysis and Performance Study for Similarity-Search
Methods in High-Dimensional Spaces, VLDB 1998). Here the coordinates are principal ones, the widest first, so that some of them
exclude nearly all rows. `gallery/nearest/skim.py` reads them.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.nearest.contraction import BYTE_MAX, SLACK, Contraction, fit_contraction
from gallery.nearest.lanes import BLOCKS_AT_ONCE, BYTE_ROWS, BYTES_AT_ONCE, QUERIES_AT_ONCE, byte_blocks, put_bytes
from gallery.nearest.search_threads import SEARCH_THREADS
from gallery.nearest.skim import aim_codes, distances_of, first_coordinates, skim
from gallery.nearest.together import skim_together
from gallery.nearest.tree import frozen, mapped, misfit

# Room for rows unlike those that the axes were learnt from, beside what these take.
_MARGIN = 0.05
_CHUNK = 8192
# What a thread reads at least: half a millisecond's work.
_BLOCKS_EACH = 8192
# So many rows more than are asked for are looked at for a first k-th distance.
_BEYOND_K = 32

# Distances (m,) float64, ascending, and rows (m,) int64.
Found = tuple[NDArray[np.float64], NDArray[np.int64]]


@dataclass(frozen=True)
class Approximations:
    """Codes of embeddings (n, d), and the contraction that they are in; no array is written to.

    Attributes:
        blocks: (groups, at least n / 8, 16, 8, 2) uint8, see `byte_blocks`; m is 32 times the groups.
        centre, axes, low: of the contraction, (d,), (m, d) and (m,) float64.
        unit: (1,) float64, of the contraction.
    """

    blocks: NDArray[np.uint8]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    unit: NDArray[np.float64]

    @cached_property
    def contraction(self) -> Contraction:
        """The contraction that codes are in."""
        return Contraction(frozen(self.centre), frozen(self.axes), frozen(self.low), float(self.unit[0]), BYTE_MAX)

    def save(self, folder: Path) -> None:
        """Write every array as codes-*.npy."""
        for field in fields(self):
            np.save(folder / f"codes-{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    def problem(self, n: int, d: int) -> str:
        """What is wrong with these arrays for embeddings (n, d), so that reading them could leave an array; "" if nothing is."""
        m = coordinates_of(d)
        expected = {
            "blocks": ((m // BYTES_AT_ONCE, -(-n // BYTE_ROWS), BYTES_AT_ONCE // 2, BYTE_ROWS, 2), np.uint8),
            "centre": ((d,), np.float64),
            "axes": ((m, d), np.float64),
            "low": ((m,), np.float64),
            "unit": ((1,), np.float64),
        }
        if problem := misfit(self, expected):
            return problem
        return "" if self.contraction.is_sound else "the contraction is not one"


def search_codes(
    embeddings: NDArray[np.float32],
    is_live: NDArray[np.bool_],
    blocks: NDArray[np.uint8],
    contraction: Contraction,
    query: NDArray[np.float32],
    k: int,
    max_distance: float,
    work: NDArray[np.int64],
) -> Found:
    """Distances and rows of the k nearest, sorted by (distance, row); many rows are shared out among `SEARCH_THREADS`.

    Args:
        embeddings: (n, d) float32; a row's number is its place.
        is_live: (n,) bool, rows that may be found.
        blocks: codes of n rows or more in this contraction, see `byte_blocks`.
        work: (2,) int64 or longer, to which blocks of 8 rows and 32 coordinates, and embeddings looked at are added.
    """
    code, inexact = np.empty(len(contraction.axes), np.int16), np.empty(len(blocks))
    aim_codes(query, *contraction.arguments[:-1], code, inexact)
    block_count = -(-len(embeddings) // BYTE_ROWS)
    sums = np.empty(block_count * BYTE_ROWS, np.int32)

    def begin(first: int, end: int) -> Found:
        near, rows = np.empty(k + _BEYOND_K), np.empty(k + _BEYOND_K, np.int64)
        count = first_coordinates(is_live, blocks, code, first, end, sums, near, rows)
        return near[:count], rows[:count]

    def read_on(first: int, end: int) -> Found:
        distances, rows = np.empty(k), np.empty(k, np.int64)
        count = skim(
            embeddings, is_live, blocks, code, inexact, contraction.unit, SLACK, query, farthest, first, end,
            sums, distances, rows, work,
        )  # fmt: skip
        return distances[:count], rows[:count]

    _, near = _least(SEARCH_THREADS.run(begin, block_count, _BLOCKS_EACH), k + _BEYOND_K)
    farthest = max_distance
    if len(near) >= k:
        distances = np.empty(len(near))
        distances_of(embeddings, near, query, distances)
        farthest = min(farthest, float(np.partition(distances, k - 1)[k - 1]))
    return _least(SEARCH_THREADS.run(read_on, block_count, _BLOCKS_EACH), k)


def is_for_many(queries: NDArray[np.float32], embeddings: NDArray[np.float32]) -> bool:
    """Whether there are enough queries (b, d) and embeddings (n, d) to compare as many at once as `search_codes_together` does."""
    return len(queries) >= QUERIES_AT_ONCE and len(embeddings) > (BLOCKS_AT_ONCE - 1) * BYTE_ROWS


def search_codes_together(
    embeddings: NDArray[np.float32],
    is_live: NDArray[np.bool_],
    blocks: NDArray[np.uint8],
    contraction: Contraction,
    queries: NDArray[np.float32],
    k: int,
    max_distances: NDArray[np.float64],
) -> list[Found]:
    """As `search_codes`, for each of many queries (b, d); many are shared out among `SEARCH_THREADS`.

    Args:
        max_distances: (b,), beyond which nothing is found.
    """
    assert is_for_many(queries, embeddings), (queries.shape, embeddings.shape)

    def search(first: int, end: int) -> list[Found]:
        # The last query is asked once more until they are a multiple of what is compared at once.
        numbers = np.minimum(np.arange(first, end + -(end - first) % QUERIES_AT_ONCE), end - 1)
        asked, count = np.ascontiguousarray(queries[numbers], np.float32), len(numbers)
        codes, inexact = np.empty((count, len(contraction.axes)), np.int16), np.empty((count, len(blocks)))
        for number in range(count):
            aim_codes(asked[number], *contraction.arguments[:-1], codes[number], inexact[number])
        distances, rows, found = np.empty((count, k)), np.empty((count, k), np.int64), np.empty(count, np.int64)
        skim_together(
            embeddings, is_live, blocks, codes, inexact, contraction.unit, SLACK, asked,
            max_distances[numbers], distances, rows, found,
        )  # fmt: skip
        return [(distances[number, :n], rows[number, :n]) for number, n in enumerate(found[: end - first].tolist())]

    return [each for part in SEARCH_THREADS.run(search, len(queries), QUERIES_AT_ONCE) for each in part]


def _least(parts: list[Found], count: int) -> Found:
    """The least of all parts, sorted."""
    if len(parts) == 1:
        return parts[0]
    distances, rows = (np.concatenate(side) for side in zip(*parts, strict=True))
    order = np.lexsort((rows, distances))[:count]
    return distances[order], rows[order]


def coordinates_of(d: int) -> int:
    """How many coordinates a code has: d, up to the next multiple of 32."""
    return -(-d // BYTES_AT_ONCE) * BYTES_AT_ONCE


def load_approximations(folder: Path) -> Approximations:
    """Map approximations read-only; whether their arrays fit together is for `problem` to say.

    Raises:
        IndexDamagedError: a file is not an array.
    """
    return Approximations(
        **{field.name: mapped(folder / f"codes-{field.name}.npy") for field in fields(Approximations)}
    )


def build_approximations(embeddings: NDArray[np.float32]) -> Approximations:
    """The approximations of embeddings (n, d), n >= 1, finite."""
    n, d = embeddings.shape
    contraction = fit_contraction(embeddings, coordinates_of(d), BYTE_MAX, _MARGIN)
    blocks = byte_blocks(n, coordinates_of(d))
    for start in range(0, n, _CHUNK):
        put_bytes(blocks, start, contraction.codes(contraction.apply(embeddings[start : start + _CHUNK])))
    unit = np.array([contraction.unit])
    return Approximations(frozen(blocks), contraction.centre, contraction.axes, contraction.low, unit)
