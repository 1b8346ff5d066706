"""Where a match stands in a query: from pairs of local features to a (3, 3) matrix, or the guess that both show the same whole picture.

A matrix takes places (x, y, 1) in the query to places in the match, in pixels of the pictures that are compared, counted from the middle
of the upper left one.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.features import Pairs

Matrix = NDArray[np.float64]

# Pixels of the match that a feature may be off, of a similarity and of what is fitted next.
SIMILAR_PX, EXACT_PX = 5.0, 2.5
# So many pairs, at so many different places, are no chance.
PAIRS_MIN = 6
SCALE_MAX = 12.0
# A perspective has to be agreed to by so many more pairs than an affine map.
PERSPECTIVE_PAIRS_MIN, PERSPECTIVE_GAIN = 16, 1.08


class Aligned(NamedTuple):
    """An alignment, and how many pairs of features agree to it (0 of a guess)."""

    matrix: Matrix
    pairs: int
    is_mirrored: bool


def fit_alignment(found: Pairs, *, mirrored: bool, negative: bool) -> Aligned | None:
    """The alignment that most pairs agree to; None if too few do."""
    if len(found.query) < PAIRS_MIN:
        return None
    inside = _agreeing_similarity(found, mirrored=mirrored, negative=negative)
    matrix = None
    for limit_px in (SIMILAR_PX, SIMILAR_PX, EXACT_PX, EXACT_PX):
        if _places(found, inside) < PAIRS_MIN:
            return None
        affine = _affine(found.query[inside], found.match[inside])
        if affine is None:
            return None
        matrix = affine
        inside = _off_px(matrix, found) < limit_px
    count = _places(found, inside)
    if matrix is None or count < PAIRS_MIN or not is_sound(matrix, mirrored=mirrored):
        return None
    perspective = _perspective(found, matrix)
    if perspective is not None and is_sound(perspective, mirrored=mirrored):
        agreeing = _places(found, _off_px(perspective, found) < EXACT_PX)
        if agreeing >= max(PERSPECTIVE_PAIRS_MIN, PERSPECTIVE_GAIN * count):
            return Aligned(perspective, agreeing, mirrored)
    return Aligned(matrix, count, mirrored)


def whole(query_size: tuple[int, int], match_size: tuple[int, int], quarters: int, *, mirrored: bool) -> Matrix:
    """The alignment of pictures of these sizes (w, h) that both show the same whole, the query turned by so many quarters
    counter-clockwise, after it was mirrored."""
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    turned = np.roll(corners, -quarters, 0)
    if mirrored:
        turned = turned * [-1, 1]
    one, other = (corners * query_size, turned * match_size)
    one, other = one + (np.array(query_size) - 1) / 2, other + (np.array(match_size) - 1) / 2
    solved = np.linalg.lstsq(np.c_[one, np.ones(4)], other, rcond=None)[0]
    return np.vstack([solved.T, [0, 0, 1]])


def is_sound(matrix: Matrix, *, mirrored: bool) -> bool:
    """Whether a matrix keeps or mirrors as it should, and enlarges and squeezes by what people do."""
    if not np.isfinite(matrix).all():
        return False
    linear = matrix[:2, :2]
    determinant = float(np.linalg.det(linear))
    if determinant == 0 or (determinant < 0) != mirrored:
        return False
    large, small = np.linalg.svd(linear, compute_uv=False)
    return bool(large < SCALE_MAX and small > 1 / SCALE_MAX and large < 3 * small)


def moved(matrix: Matrix, places: NDArray[Any]) -> NDArray[np.float64]:
    """Places (n, 2) where a matrix takes them."""
    lifted = np.c_[places, np.ones(len(places))] @ matrix.T
    return np.asarray(lifted[:, :2] / lifted[:, 2:])


def inverse(matrix: Matrix) -> Matrix:
    """The way back."""
    return np.asarray(np.linalg.inv(matrix), np.float64)


def local(matrix: Matrix, place: NDArray[Any]) -> NDArray[np.float64]:
    """The linear map (2, 2) that a matrix comes to near a place."""
    steps = moved(matrix, place + np.array([[0, 0], [1, 0], [0, 1]]))
    return np.asarray((steps[1:] - steps[0]).T)


def _agreeing_similarity(found: Pairs, *, mirrored: bool, negative: bool) -> NDArray[np.bool_]:
    """The pairs that agree to the similarity that most agree to, each pair proposing the one that takes its frame to the other."""
    query, match, one, other = (np.ascontiguousarray(each, np.float64).view(np.complex128)[:, 0] for each in found)
    if mirrored:
        query, one = query.conj(), one.conj()
    if negative:
        one = -one
    factors = other / one
    offsets = match - factors * query
    off = np.abs(factors[:, None] * query[None] + offsets[:, None] - match[None])
    # What a frame's direction is off shows far away from it: a pair counts for more the nearer it comes.
    scores = np.clip(1 - off / (3 * SIMILAR_PX), 0, None).sum(1)
    best = int(scores.argmax())
    inside: NDArray[np.bool_] = off[best] < 3 * SIMILAR_PX
    return inside


def _affine(query: NDArray[np.float32], match: NDArray[np.float32]) -> Matrix | None:
    centred = query - query.mean(0)
    if min(np.linalg.svd(centred, compute_uv=False)) < 4:  # all on a line
        return None
    solved = np.linalg.lstsq(np.c_[query, np.ones(len(query))].astype(np.float64), match, rcond=None)[0]
    return np.vstack([solved.T, [0, 0, 1]])


def _perspective(found: Pairs, affine: Matrix) -> Matrix | None:
    near = _off_px(affine, found) < 4 * EXACT_PX
    if np.count_nonzero(near) < PERSPECTIVE_PAIRS_MIN:
        return None
    try:
        matrix, _ = cv2.findHomography(found.query[near], found.match[near], cv2.USAC_MAGSAC, EXACT_PX)
    except cv2.error:
        return None
    return None if matrix is None else np.asarray(matrix / matrix[2, 2], np.float64)


def _off_px(matrix: Matrix, found: Pairs) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(moved(matrix, found.query) - found.match, axis=1))


def _places(found: Pairs, inside: NDArray[np.bool_]) -> int:
    """How many different places the pairs have, in that picture in which they are fewer: one that repeats proves nothing."""
    if not inside.any():
        return 0
    return min(len(np.unique(np.round(each[inside] / 2), axis=0)) for each in (found.query, found.match))
