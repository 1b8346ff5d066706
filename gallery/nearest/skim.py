"""The search in embeddings that no tree divides: a byte for each coordinate of each row, read one after the other. Compiled.

Eight rows are read together, 32 coordinates at a time, and only until the codes of all eight are farther than the k-th nearest
can be. What is left is decided by float32 and float64, as everywhere (`gallery/nearest/walk.py`). A function for each block, with
its arrays, would cost three times what the block does.
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.bounds import aim_bytes, byte_limits, exact_distance, limit32, squared32
from gallery.nearest.lanes import BYTE_BLOCK, BYTE_ROWS, BYTES_AT_ONCE, add_bytes, bits_within, first_bit
from gallery.nearest.walk import insert

# Of so many blocks one is looked at before all others, to begin with a good k-th distance; and at least two for each neighbour.
SAMPLED = 128
# A greater part than one in so many is not worth its cost.
COSTLY = 8

_compiled = nb.njit(nogil=True, error_model="numpy")


@_compiled
def begin(
    embeddings: Any, is_live: Any, blocks: Any,
    centre: Any, axes: Any, low: Any, unit: float, radius: float,
    query32: Any, max_distance: float, code: Any, inexact: Any, distances: Any, rows: Any,
) -> float:  # fmt: skip
    """Find the query's code, and a distance beyond which none of the k nearest lies.

    Args:
        embeddings: (n, d) float32; a row's number is its place.
        is_live: (n,) bool, rows that may be found.
        blocks: codes of n rows or more, see `byte_blocks`.
        centre, axes, low, unit, radius: the contraction, see `gallery/nearest/contraction.py`.
        query32: (d,) float32, finite.
        code, inexact: filled in, see `aim_bytes`.
        distances, rows: (k,) float64 and int64, to work in.
    """
    query = query32.astype(np.float64)
    aim_bytes(query, centre, axes, low, unit, radius, code, inexact)
    n, k = embeddings.shape[0], rows.shape[0]
    block_count = (n + BYTE_ROWS - 1) // BYTE_ROWS
    sampled = max(block_count // SAMPLED, 2 * k)
    if sampled * COSTLY > block_count:
        return max_distance
    if _nearest_codes(blocks, is_live, code, block_count // sampled, n, distances, rows) < k:
        return max_distance
    farthest = 0.0
    for row in rows:
        farthest = max(farthest, exact_distance(embeddings, row, query))
    return min(max_distance, farthest)


@_compiled
def skim(
    embeddings: Any, is_live: Any, blocks: Any, code: Any, inexact: Any, unit: float, slack: float,
    query32: Any, max_distance: float, first_block: int, end_block: int, distances: Any, rows: Any, work: Any,
) -> int:  # fmt: skip
    """Look at the codes of all rows of some blocks; arguments as for `begin`.

    Args:
        distances, rows: (k,) float64 and int64, filled from the front.
        work: (2,) int64, to which blocks of 8 rows and 32 coordinates, and embeddings looked at are added.

    Returns:
        How many were found.
    """
    query = query32.astype(np.float64)
    n, k, groups, capacity = embeddings.shape[0], rows.shape[0], blocks.shape[0], blocks.shape[1]
    sums, limits = np.empty(BYTE_ROWS, np.int32), np.empty(groups, np.int32)
    byte_limits(max_distance, unit, slack, inexact, limits)
    worst, limit, found = max_distance, limit32(max_distance), 0
    for block in range(first_block, end_block):
        bits: Any = np.uint32(0)
        for group in range(groups):
            add_bytes(blocks, (group * capacity + block) * BYTE_BLOCK, code, group * BYTES_AT_ONCE, sums)
            bits = bits_within(sums, limits[group])
            if not bits:
                break
        work[0] += group + 1
        while bits:
            slot = block * BYTE_ROWS + first_bit(bits)
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


@_compiled
def _nearest_codes(blocks: Any, is_live: Any, code: Any, step: int, n: int, distances: Any, rows: Any) -> int:
    """Fill `rows` with those of every `step`-th block whose codes are nearest; returns how many there are."""
    groups, capacity, k = blocks.shape[0], blocks.shape[1], rows.shape[0]
    sums = np.empty(BYTE_ROWS, np.int32)
    found: int = 0
    for block in range(0, (n + BYTE_ROWS - 1) // BYTE_ROWS, step):
        for group in range(groups):
            add_bytes(blocks, (group * capacity + block) * BYTE_BLOCK, code, group * BYTES_AT_ONCE, sums)
        for slot in range(block * BYTE_ROWS, min((block + 1) * BYTE_ROWS, n)):
            apart = sums[slot - block * BYTE_ROWS]
            if is_live[slot] and (found < k or apart < distances[k - 1]):
                found = insert(distances, rows, found, np.float64(apart), slot)
    return found
