"""The search among few rows that are chosen: it looks at the code of each, and at the embeddings of those that are near. Compiled.

It takes what `gallery/nearest/walk.py` takes, and leaves a row out by the same bounds.
"""

from typing import Any

import numba as nb
import numpy as np

from gallery.nearest.bounds import aim, exact_distance, limits, squared32, squared_to_code
from gallery.nearest.contraction import COORDINATES
from gallery.nearest.lanes import prefetch
from gallery.nearest.walk import insert

AHEAD = 12  # codes asked for early

_compiled = nb.njit(nogil=True, error_model="numpy")


@_compiled
def pick(
    embeddings: Any, row_of: Any, places: Any, codes: Any,
    centre: Any, axes: Any, low: Any, unit: float, radius: float, slack: float,
    query32: Any, max_distance: float, distances: Any, rows: Any,
) -> int:  # fmt: skip
    """Search among the rows at `places` (m,) int32, ascending; the other arguments as for `walk_tree`.

    The k rows with the nearest codes are looked at first, so that their distances exclude almost all others.

    Returns:
        How many were found.
    """
    query = query32.astype(np.float64)
    point, code = np.empty(COORDINATES, np.float32), np.empty(COORDINATES, np.int16)
    slack += aim(query, centre, axes, low, unit, radius, point, code)
    count, k = places.shape[0], rows.shape[0]
    apart = np.empty(count, np.int32)
    found: int = 0
    cut: Any = np.inf
    for j in range(count):
        prefetch(codes, places[min(j + AHEAD, count - 1)] * COORDINATES)
        apart[j] = squared_to_code(codes, places[j], code)
        if apart[j] < cut or found < k:
            found = insert(distances, rows, found, np.float64(apart[j]), j)
            cut = distances[found - 1] if found == k else cut
    cut = distances[found - 1] if found else 0.0
    found, limit = 0, limits(max_distance, unit, slack)
    for near in (True, False):
        for j in range(count):
            if (apart[j] <= cut) != near or apart[j] > limit[2]:
                continue
            estimate = squared32(embeddings, places[j], query32)
            if estimate > limit[3] and estimate < np.float32(1e37):  # beyond that float32 may have overflowed
                continue
            exact = exact_distance(embeddings, places[j], query)
            if exact <= max_distance:
                found = insert(distances, rows, found, exact, row_of[places[j]])
                if found == k:
                    limit = limits(distances[k - 1], unit, slack)
    return found
