"""The search itself, compiled by numba: the k nearest rows, nearest first, ties by row number.

A row is left out only when a lower bound on its distance (`gallery/nearest/bounds.py`) is above the k-th distance found so far, or above
`max_distance`. What is returned is float64 arithmetic on the stored float32. So a loose bound costs time and never an answer.

Everything here takes arrays as they lie in memory, read-only, and releases the GIL.
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.bounds import aim, exact_distance, limit32, limits, squared32, squared_to_box, squared_to_code
from gallery.nearest.contraction import COORDINATES
from gallery.nearest.lanes import ROWS, SHORT_COORDINATES, first_bit, near_lanes, prefetch

# Leaves taken in order of their bound, which finds near rows early. After that the order hardly matters, and depth-first is cheaper.
BEST_FIRST_LEAVES = 64

_compiled = nb.njit(nogil=True, error_model="numpy")


@_compiled
def walk_tree(
    embeddings: Any, row_of: Any, is_live: Any, boxes: Any, leaf_starts: Any, block_starts: Any, blocks: Any, codes: Any,
    capacity: int, centre: Any, axes: Any, low: Any, unit: float, radius: float, slack: float,
    query32: Any, max_distance: float, distances: Any, rows: Any, work: Any,
) -> int:  # fmt: skip
    """Walk the tree: the nearest boxes first, then depth-first over what is left; look into each leaf within reach.

    Args:
        embeddings: (n, d) float32 in the tree's order.
        row_of: (n,) int32, row number of each place in that order.
        is_live: (n,) bool by row number, rows that may be found.
        boxes, leaf_starts, block_starts, blocks, codes: the tree, see `gallery/nearest/tree.py`.
        capacity: most rows of a leaf.
        centre, axes, low, unit, radius, slack: the contraction, see `gallery/nearest/contraction.py`.
        query32: (d,) float32, finite.
        distances, rows: (k,) float64 and int64, filled from the front.
        work: (5,) int64, to which boxes, leaves, blocks, codes and embeddings looked at are added.

    Returns:
        How many were found.
    """
    query = query32.astype(np.float64)
    point, code = np.empty(COORDINATES, np.float32), np.empty(COORDINATES, np.int16)
    slack += aim(query, centre, axes, low, unit, radius, point, code)
    near, bound = np.empty(capacity, np.int64), np.empty(capacity, np.int32)
    first_leaf = leaf_starts.shape[0] - 2
    found, limit = 0, limits(max_distance, unit, slack)
    key, node = np.empty(first_leaf + 64, np.float32), np.empty(first_leaf + 64, np.int32)
    key[0], node[0] = squared_to_box(boxes, 0, point), 0
    waiting, leaves = 1, 0
    while waiting > 0:
        if leaves < BEST_FIRST_LEAVES:
            at_key, at = key[0], node[0]
            waiting = heap_pop(key, node, waiting)
        else:
            waiting -= 1
            at_key, at = key[waiting], node[waiting]
        while at_key <= limit[0] and at < first_leaf:  # to the nearer child; the farther one waits
            left = 2 * at + 1
            to_left, to_right = squared_to_box(boxes, left, point), squared_to_box(boxes, left + 1, point)
            work[0] += 2
            goes_left = to_left <= to_right
            at = np.int32(left if goes_left else left + 1)
            at_key, farther = (to_left, to_right) if goes_left else (to_right, to_left)
            if farther <= limit[0]:
                other = np.int32(left + 1 if goes_left else left)
                if leaves < BEST_FIRST_LEAVES:
                    heap_push(key, node, waiting, farther, other)
                else:
                    key[waiting], node[waiting] = farther, other
                waiting += 1
        if at_key <= limit[0]:
            leaves += 1
            leaf = at - first_leaf
            found, limit = visit(
                leaf_starts[leaf], leaf_starts[leaf + 1], block_starts[leaf],
                embeddings, row_of, is_live, blocks, codes, code, near, bound,
                query32, query, max_distance, unit, slack, distances, rows, found, limit, work,
            )  # fmt: skip
    return found


@_compiled
def scan(
    embeddings: Any, places: Any, is_live: Any, query32: Any, max_distance: float, distances: Any, rows: Any
) -> int:
    """Look at the embedding of every row at `places`, in their order, and keep what float32 cannot exclude.

    Args:
        embeddings: (n, d) float32; a row's number is its place.
        places: (m,) int32.
        is_live: (n,) bool, rows that may be found.
        query32: (d,) float32.
        distances, rows: (k,) float64 and int64, filled from the front.

    Returns:
        How many were found.
    """
    query = query32.astype(np.float64)
    found, worst = 0, max_distance
    limit = limit32(worst)
    for slot in places:
        if not is_live[slot]:
            continue
        estimate = squared32(embeddings, slot, query32)
        if estimate > limit and estimate < np.float32(1e37):  # beyond that float32 may have overflowed
            continue
        d = exact_distance(embeddings, slot, query)
        if d <= worst:
            found = insert(distances, rows, found, d, slot)
            if found == rows.shape[0]:
                worst = distances[found - 1]
                limit = limit32(worst)
    return found


@_compiled
def visit(
    start: int, end: int, block: int,
    embeddings: Any, row_of: Any, is_live: Any, blocks: Any, codes: Any, code: Any, near: Any, bound: Any,
    query32: Any, query: Any, max_distance: float, unit: float, slack: float,
    distances: Any, rows: Any, found: int, limit: Any, work: Any,
) -> tuple[int, Any]:  # fmt: skip
    """Look into one leaf, coarse to fine: 8 codes of 32 rows at once, 32 codes a row, float32, float64."""
    d, k, count = query.shape[0], rows.shape[0], 0
    block_count = (end - start + ROWS - 1) // ROWS
    for place in range(block * ROWS * SHORT_COORDINATES, (block + block_count) * ROWS * SHORT_COORDINATES, 32):
        prefetch(blocks, place)
    for b in range(block_count):
        first = start + b * ROWS
        bits: Any = near_lanes(blocks, block + b, code, limit[1])
        if end - first < ROWS:
            bits &= np.uint32((1 << (end - first)) - 1)
        while bits:
            near[count] = first + first_bit(bits)
            bits &= np.uint32(bits - np.uint32(1))
            prefetch(codes, near[count] * COORDINATES)
            count += 1
    work[1] += 1
    work[2] += block_count
    work[3] += count
    kept = 0
    for j in range(count):
        apart = squared_to_code(codes, near[j], code)
        if apart <= limit[2]:
            near[kept], bound[kept] = near[j], apart
            for place in range(0, d, 16):
                prefetch(embeddings, near[j] * d + place)
            kept += 1
    for j in range(kept):
        if bound[j] > limit[2]:  # the limit may have fallen since
            continue
        slot = near[j]
        work[4] += 1
        estimate = squared32(embeddings, slot, query32)
        if (estimate > limit[3] and estimate < np.float32(1e37)) or not is_live[row_of[slot]]:
            continue
        apart64 = exact_distance(embeddings, slot, query)
        if apart64 <= max_distance:
            found = insert(distances, rows, found, apart64, row_of[slot])
            if found == k:
                limit = limits(distances[k - 1], unit, slack)
    return found, limit


@_compiled
def insert(distances: Any, rows: Any, found: int, d: float, row: int) -> int:
    """Put a row in its place among the `found` nearest, which are sorted; the last one falls out when all places are taken."""
    k = rows.shape[0]
    place = found
    if found == k:
        place = k - 1
        if d > distances[place] or (d == distances[place] and row > rows[place]):
            return found
    while place > 0 and (distances[place - 1] > d or (distances[place - 1] == d and rows[place - 1] > row)):
        distances[place] = distances[place - 1]
        rows[place] = rows[place - 1]
        place -= 1
    distances[place] = d
    rows[place] = row
    return min(found + 1, k)


@_compiled
def heap_push(key: Any, node: Any, waiting: int, new_key: Any, new_node: Any) -> None:
    """Add to a heap of `waiting` boxes whose nearest comes first."""
    place = waiting
    while place > 0 and key[(place - 1) >> 1] > new_key:
        key[place], node[place] = key[(place - 1) >> 1], node[(place - 1) >> 1]
        place = (place - 1) >> 1
    key[place], node[place] = new_key, new_node


@_compiled
def heap_pop(key: Any, node: Any, waiting: int) -> int:
    """Take the nearest box away; returns how many are left."""
    waiting -= 1
    last_key, last_node, place = key[waiting], node[waiting], 0
    while True:
        child = 2 * place + 1
        if child + 1 < waiting and key[child + 1] < key[child]:
            child += 1
        if child >= waiting or key[child] >= last_key:
            break
        key[place], node[place] = key[child], node[child]
        place = child
    key[place], node[place] = last_key, last_node
    return waiting
