"""The search among approximations for many queries at once: what is read of the rows is read once for all of them. Compiled.

The first coordinates are compared for four queries and sixteen rows together: of (x - q)² = x² + q² - 2xq only the products are
left to each query. So many coordinates are compared so that few rows are left, by what the rows before them left. Those are read
on as in a search for one query (`gallery/nearest/skim.py`).
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.bounds import byte_limits, exact_distance, limit32, squared32
from gallery.nearest.lanes import (
    BLOCKS_AT_ONCE,
    BYTE_BLOCK,
    BYTE_ROWS,
    BYTES_AT_ONCE,
    QUERIES_AT_ONCE,
    add_bytes,
    add_products,
    bits_within,
    first_bit,
)
from gallery.nearest.walk import insert

# After so many rows it is decided anew how many coordinates are compared together: more when a share of rows above the one is
# left, fewer when it is below the other.
_DECIDED_BLOCKS, _MANY_LEFT, _FEW_LEFT = 64, 0.25, 0.04

_compiled = nb.njit(nogil=True, error_model="numpy")


@_compiled
def _squares_of(codes: Any, groups: int) -> Any:
    """Sums of squares of codes (b, m) over the first 32 coordinates, the first 64, …: (groups + 1, b) int32, at first zeros."""
    squares = np.zeros((groups + 1, codes.shape[0]), np.int32)
    for query in range(codes.shape[0]):
        for group in range(groups):
            squares[group + 1, query] = squares[group, query]
            for a in range(group * BYTES_AT_ONCE, (group + 1) * BYTES_AT_ONCE):
                squares[group + 1, query] += np.int32(codes[query, a]) * np.int32(codes[query, a])
    return squares


@_compiled
def _square_rows(blocks: Any, first_block: int, groups: int, nothing: Any, own: Any) -> None:
    """Fill in the sums of squares (16,) int32 of the rows of two blocks, over some groups of 32 coordinates."""
    for each in range(BLOCKS_AT_ONCE):
        for group in range(groups):
            place = (group * blocks.shape[1] + first_block + each) * BYTE_BLOCK
            add_bytes(blocks, place, nothing, group * BYTES_AT_ONCE, own, each * BYTE_ROWS)


@_compiled
def _decided(compared: int, groups: int, left_share: float) -> int:
    """How many groups of 32 coordinates are compared together from now on."""
    if left_share > _MANY_LEFT:
        return min(compared + 1, groups)
    return max(compared - 1, 1) if left_share < _FEW_LEFT else compared


@_compiled
def _take(
    embeddings: Any, is_live: Any, first_slot: int, bits: Any, query: int, queries32: Any, worst: Any,
    distances: Any, rows: Any, found: Any,
) -> bool:  # fmt: skip
    """Put rows into what a query found where they are near enough; whether that lowered what is `worst`."""
    query32, k, before = queries32[query], rows.shape[1], worst[query]
    while bits:
        slot = first_slot + first_bit(bits)
        bits &= np.uint32(bits - np.uint32(1))
        if slot >= embeddings.shape[0] or not is_live[slot]:
            continue
        estimate = squared32(embeddings, slot, query32)
        if estimate > limit32(worst[query]) and estimate < np.float32(1e37):  # beyond that float32 may have overflowed
            continue
        apart = exact_distance(embeddings, slot, query32.astype(np.float64))
        if apart <= worst[query]:
            found[query] = insert(distances[query], rows[query], found[query], apart, slot)
            if found[query] == k:
                worst[query] = min(worst[query], distances[query, k - 1])
    return bool(worst[query] < before)


@_compiled
def skim_together(
    embeddings: Any, is_live: Any, blocks: Any, codes: Any, inexact: Any, unit: float, slack: float,
    queries32: Any, max_distances: Any, distances: Any, rows: Any, found: Any,
) -> None:  # fmt: skip
    """The nearest rows of each of b queries; b is a multiple of 4, and there are at least two blocks.

    Args:
        embeddings: (n, d) float32; a row's number is its place.
        is_live: (n,) bool, rows that may be found.
        blocks: codes of n rows or more, see `byte_blocks`.
        codes, inexact: (b, m) int16 and (b, m / 32) float64 of the queries, see `aim_bytes`.
        unit, slack: see `byte_limits`.
        queries32: (b, d) float32, finite.
        max_distances: (b,) float64, beyond which nothing is found.
        distances, rows: (b, k) float64 and int64, each filled from the front.
        found: (b,) int64, how many were found; filled in.
    """
    groups, capacity, block_count = blocks.shape[0], blocks.shape[1], -(-embeddings.shape[0] // BYTE_ROWS)
    query_count, m = codes.shape
    doubled, squares = codes * np.int16(-2), _squares_of(codes, groups)
    worst = max_distances.copy()
    limits = np.empty((query_count, groups), np.int32)
    for query in range(query_count):
        found[query] = 0
        byte_limits(worst[query], unit, slack, inexact[query], limits[query])
    nothing, own = np.zeros(m, np.int16), np.empty(BLOCKS_AT_ONCE * BYTE_ROWS, np.int32)
    sums = np.empty(QUERIES_AT_ONCE * BLOCKS_AT_ONCE * BYTE_ROWS, np.int32)
    compared, left = (groups + 1) // 2, 0
    for next_block in range(0, block_count, BLOCKS_AT_ONCE):
        if next_block % _DECIDED_BLOCKS == _DECIDED_BLOCKS - BLOCKS_AT_ONCE:
            compared, left = _decided(compared, groups, left / (_DECIDED_BLOCKS * query_count)), 0
        # The last two blocks are read together, although the first of them may have been read before.
        block = min(next_block, block_count - BLOCKS_AT_ONCE)
        _square_rows(blocks, block, compared, nothing, own)
        for first_query in range(0, query_count, QUERIES_AT_ONCE):
            for group in range(compared):
                place, start = (group * capacity + block) * BYTE_BLOCK, first_query * m + group * BYTES_AT_ONCE
                first = -1 if group else first_query
                add_products(blocks, place, doubled, start, m, own, squares[compared], first, sums)
            for lane in range(QUERIES_AT_ONCE * BLOCKS_AT_ONCE):
                query, each = first_query + lane // BLOCKS_AT_ONCE, lane % BLOCKS_AT_ONCE
                bits = bits_within(sums, lane * BYTE_ROWS, limits[query, compared - 1])
                if not bits or block + each < next_block:
                    continue
                left += 1
                group = compared
                while bits and group < groups:
                    place = (group * capacity + block + each) * BYTE_BLOCK
                    add_bytes(blocks, place, codes, query * m + group * BYTES_AT_ONCE, sums, lane * BYTE_ROWS)
                    bits = bits_within(sums, lane * BYTE_ROWS, limits[query, group])
                    group += 1
                first_slot = (block + each) * BYTE_ROWS
                if bits and _take(
                    embeddings, is_live, first_slot, bits, query, queries32, worst, distances, rows, found
                ):
                    byte_limits(worst[query], unit, slack, inexact[query], limits[query])
