"""What excludes a row, and what decides: lower bounds with their margins, and the distance itself. Compiled by numba.

Bounds are compared with what `limits` makes of the k-th distance. Their margins are stated here and, for the map that boxes and codes
live in, in `gallery/nearest/contraction.py`.
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.contraction import BYTE_MAX, CODE_MAX, COORDINATES
from gallery.nearest.lanes import BYTES_AT_ONCE

FARTHEST = np.iinfo(np.int32).max

_compiled = nb.njit(nogil=True, error_model="numpy")
# Only where a bound with a stated margin is computed: the order of additions may change, nothing else.
_compiled_bound = nb.njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz", "nnan"})


@_compiled
def exact_distance(embeddings: Any, slot: int, query: Any) -> float:
    """Euclidean distance in float64. Eight running sums: up to 128 numbers bit for bit numpy's result, which halves more.

    Whatever the dimensions, this order of additions is what ranks: everything that is compared is computed here.
    """
    a = b = c = d = e = f = g = h = 0.0
    even = query.shape[0] & ~7
    for j in range(0, even, 8):
        a += (np.float64(embeddings[slot, j]) - query[j]) ** 2
        b += (np.float64(embeddings[slot, j + 1]) - query[j + 1]) ** 2
        c += (np.float64(embeddings[slot, j + 2]) - query[j + 2]) ** 2
        d += (np.float64(embeddings[slot, j + 3]) - query[j + 3]) ** 2
        e += (np.float64(embeddings[slot, j + 4]) - query[j + 4]) ** 2
        f += (np.float64(embeddings[slot, j + 5]) - query[j + 5]) ** 2
        g += (np.float64(embeddings[slot, j + 6]) - query[j + 6]) ** 2
        h += (np.float64(embeddings[slot, j + 7]) - query[j + 7]) ** 2
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for j in range(even, query.shape[0]):
        total += (np.float64(embeddings[slot, j]) - query[j]) ** 2
    return np.sqrt(total)


@_compiled_bound
def squared32(embeddings: Any, slot: int, query: Any) -> np.float32:
    """Squared distance in float32, at most 3.1e-5 too large for d <= 512: (d + 2) · 2⁻²⁴, whatever the order of additions."""
    total = np.float32(0)
    for j in range(query.shape[0]):
        difference = embeddings[slot, j] - query[j]
        total += difference * difference
    return total


@_compiled
def limit32(worst: float) -> np.float32:
    """What `squared32` may be at most for a row within `worst`; the last term is for squares that vanish in float32."""
    return np.float32(min(worst * worst * 1.00004 + 1e-39, 3e38))


@_compiled_bound
def squared_to_box(boxes: Any, node: int, point: Any) -> np.float32:
    """Squared distance from `point` (32,) float32 to the nearest point of a node's box; 0 inside."""
    total = np.float32(0)
    for j in range(point.shape[0]):
        lower, upper, place = boxes[node, 0, j], boxes[node, 1, j], point[j]
        nearest = place if place > lower else lower
        nearest = nearest if nearest < upper else upper
        total += (place - nearest) * (place - nearest)
    return total


@_compiled_bound
def squared_to_code(codes: Any, slot: int, code: Any) -> np.int32:
    """Squared distance between two codes of 32 numbers: below 2³¹, so 32 bits do."""
    total = np.int32(0)
    for j in range(code.shape[0]):
        difference = np.int32(np.int32(codes[slot, j]) - np.int32(code[j]))
        total = np.int32(total + np.int32(difference * difference))
    return total


@_compiled
def limits(worst: float, unit: float, slack: float) -> tuple[Any, Any, Any, Any]:
    """What boxes, the first 8 codes, all 32 codes and float32 may be at most for a row within `worst`.

    A code is off by at most half a unit in each coordinate, so the distance of two codes by sqrt(8) and sqrt(32).
    The factor covers the roundings of this function, of float32 boxes (34 · 2⁻²⁴ of a square) and of the distances themselves.
    """
    reach = (worst / unit + slack) * 1.000005
    eight, all_32 = reach + 2.8285, reach + 5.6569
    return (
        np.float32(min(reach * reach, 3e38)),
        np.int32(min(eight * eight, FARTHEST - 1.0)),
        np.int32(min(all_32 * all_32, FARTHEST - 1.0)),
        limit32(worst),
    )


@_compiled_bound
def contract(query: Any, centre: Any, axes: Any, unit: float, radius: float, out: Any) -> float:
    """The query's m coordinates, the last one the norm of the rest, as `Contraction.apply` gives them for rows.

    Returns:
        Norm of the query in units after it was drawn into the ball.
    """
    d = query.shape[0]
    offset = np.empty(d)
    norm = 0.0
    for j in range(d):
        offset[j] = (query[j] - centre[j]) / unit
        norm += offset[j] * offset[j]
    norm = np.sqrt(norm)
    if norm > radius:
        for j in range(d):
            offset[j] *= radius / norm
        norm = radius
    for a in range(axes.shape[0]):
        product = 0.0
        for j in range(d):
            product += offset[j] * axes[a, j]
        out[a] = product
    for a in range(axes.shape[0]):
        product = out[a]
        for j in range(d):
            offset[j] -= product * axes[a, j]
    rest = 0.0
    for j in range(d):
        rest += offset[j] * offset[j]
    out[axes.shape[0] - 1] = np.sqrt(rest)
    return norm


@_compiled
def aim(query: Any, centre: Any, axes: Any, low: Any, unit: float, radius: float, point: Any, code: Any) -> float:
    """Fill in the query's `point` (32,) float32 and `code` (32,) int16; returns by how much float32 put the point off."""
    image = np.empty(COORDINATES)
    norm = contract(query, centre, axes, unit, radius, image)
    for a in range(COORDINATES):
        point[a] = image[a]
        code[a] = np.int16(round(min(max(image[a] - low[a], 0.0), float(CODE_MAX))))
    return norm * 1.2e-7  # 2⁻²⁴ of the point's norm, which is the query's, and a margin


@_compiled
def aim_bytes(
    query: Any, centre: Any, axes: Any, low: Any, unit: float, radius: float, code: Any, inexact: Any
) -> None:
    """Fill in the query's `code` (m,) int16, and by how much rounding may have put it and a row off.

    Args:
        inexact: (m / 32,) float64, units: over the first 32 coordinates, the first 64, … A row is off by half a unit in each.
    """
    image = np.empty(code.shape[0])
    contract(query, centre, axes, unit, radius, image)
    off = 0.0
    for a in range(code.shape[0]):
        place = min(max(image[a] - low[a], 0.0), float(BYTE_MAX))
        code[a] = np.int16(round(place))
        off += (place - code[a]) ** 2
        if a % BYTES_AT_ONCE == BYTES_AT_ONCE - 1:
            inexact[a // BYTES_AT_ONCE] = (np.sqrt(off) + 0.5 * np.sqrt(a + 1)) * 1.000005


@_compiled
def byte_limits(worst: float, unit: float, slack: float, inexact: Any, limits: Any) -> None:
    """Fill in what the codes' squared distances over the first 32 coordinates, 64, … may be for a row within `worst`."""
    reach = (worst / unit + slack) * 1.000005
    for group in range(inexact.shape[0]):
        limits[group] = np.int32(min((reach + inexact[group]) ** 2, FARTHEST - 1.0))
