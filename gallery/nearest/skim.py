"""The search in embeddings that no tree divides: a byte for each coordinate of each row, read one after the other. Compiled.

First 32 coordinates of all rows are compared. The rows that are nearest in these give a first k-th distance. Then eight rows
together are read on, 32 coordinates at a time, and only until the codes of all eight are farther than the k-th nearest can be.
What is left is decided by float32 and float64, as everywhere (`gallery/nearest/walk.py`). A function for each block, with its
arrays, would cost three times what the block does.
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.bounds import FARTHEST, aim_bytes, byte_limits, exact_distance, limit32, squared32
from gallery.nearest.lanes import BYTE_BLOCK, BYTE_ROWS, BYTES_AT_ONCE, add_bytes, bits_within, first_bit
from gallery.nearest.walk import insert

_compiled = nb.njit(nogil=True, error_model="numpy")


@_compiled
def aim_codes(
    query32: Any, centre: Any, axes: Any, low: Any, unit: float, radius: float, code: Any, inexact: Any
) -> None:
    """Find the query's code; arguments as for `aim_bytes`, `query32` is (d,) float32."""
    aim_bytes(query32.astype(np.float64), centre, axes, low, unit, radius, code, inexact)


@_compiled
def first_coordinates(
    is_live: Any, blocks: Any, code: Any, first_block: int, end_block: int, sums: Any, near: Any, rows: Any
) -> int:
    """Compare the first 32 coordinates of all rows of some blocks.

    Args:
        is_live: (n,) bool, rows that may be found.
        blocks: codes of n rows or more, see `byte_blocks`.
        code: the query's.
        sums: (8 times the blocks,) int32, squared distances in these coordinates by row; filled in.
        near, rows: (c,) float64 and int64, the least of them and their rows; filled from the front.

    Returns:
        How many are near.
    """
    n, count = is_live.shape[0], rows.shape[0]
    found: int = 0
    limit: Any = np.int32(FARTHEST)
    for block in range(first_block, end_block):
        first = block * BYTE_ROWS
        add_bytes(blocks, block * BYTE_BLOCK, code, 0, sums, first)
        bits = bits_within(sums, first, limit)
        while bits:
            slot = first + first_bit(bits)
            bits &= np.uint32(bits - np.uint32(1))
            if slot < n and is_live[slot]:
                found = insert(near, rows, found, np.float64(sums[slot]), slot)
                if found == count:
                    limit = np.int32(near[count - 1])
    return found


@_compiled
def distances_of(embeddings: Any, rows: Any, query32: Any, distances: Any) -> None:
    """Fill in the distances (m,) float64 of rows (m,)."""
    query = query32.astype(np.float64)
    for number in range(rows.shape[0]):
        distances[number] = exact_distance(embeddings, rows[number], query)


@_compiled
def skim(
    embeddings: Any, is_live: Any, blocks: Any, code: Any, inexact: Any, unit: float, slack: float,
    query32: Any, max_distance: float, first_block: int, end_block: int, sums: Any, distances: Any, rows: Any, work: Any,
) -> int:  # fmt: skip
    """Read on where the first 32 coordinates exclude nothing; arguments as for `first_coordinates`.

    Args:
        embeddings: (n, d) float32; a row's number is its place.
        inexact, unit, slack: see `byte_limits`.
        query32: (d,) float32, finite.
        sums: as `first_coordinates` left it; overwritten.
        distances, rows: (k,) float64 and int64, filled from the front.
        work: (2,) int64, to which blocks of 8 rows and 32 coordinates, and embeddings looked at are added.

    Returns:
        How many were found.
    """
    query = query32.astype(np.float64)
    n, k, groups, capacity = embeddings.shape[0], rows.shape[0], blocks.shape[0], blocks.shape[1]
    limits = np.empty(groups, np.int32)
    byte_limits(max_distance, unit, slack, inexact, limits)
    worst, limit, found = max_distance, limit32(max_distance), 0
    for block in range(first_block, end_block):
        first = block * BYTE_ROWS
        bits = bits_within(sums, first, limits[0])
        group = 1
        while bits and group < groups:
            add_bytes(blocks, (group * capacity + block) * BYTE_BLOCK, code, group * BYTES_AT_ONCE, sums, first)
            bits = bits_within(sums, first, limits[group])
            group += 1
        work[0] += group
        while bits:
            slot = first + first_bit(bits)
            bits &= np.uint32(bits - np.uint32(1))
            if slot >= n or not is_live[slot]:
                continue
            work[1] += 1
            estimate = squared32(embeddings, slot, query32)
            if estimate > limit and estimate < np.float32(1e37):  # beyond that float32 may have overflowed
                continue
            apart = exact_distance(embeddings, slot, query)
            if apart <= worst:
                found = insert(distances, rows, found, apart, slot)
                if found == k and distances[k - 1] < worst:
                    worst = distances[k - 1]
                    limit = limit32(worst)
                    byte_limits(worst, unit, slack, inexact, limits)
    return found
