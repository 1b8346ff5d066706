"""What is around a match in a query: a border, another picture that it was pasted into, its neighbours in a collage, or more of the scene."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.comparison import Mask, Pixels, smoothed

# Less than this share of the frame around it is nothing.
AROUND_MIN = 0.012
# Of what is around, what has one of few colours; with text on it, a border is not all of one.
PLAIN_SHARE, PLAIN_TOLERANCE, PLAIN_COLOURS = 0.75, 0.055, 2
# How much more often than elsewhere there is an edge where the match ends.
SEAM_MIN = 1.45
_LEVELS = 16


class Surroundings(NamedTuple):
    """What is around the match.

    Attributes:
        area: share of the frame that does not show the match.
        is_plain: it has few colours.
        seam: median of the edges where the match ends, by that of all edges in the frame.
    """

    area: float
    is_plain: bool
    seam: float


def surroundings(query: Pixels, inside: Mask) -> Surroundings:
    """What is around the match in the query (h, w, 3)."""
    outside = _grown(inside, 3) == 0
    area = float(np.mean(~_closed(inside)))
    if area < AROUND_MIN or np.count_nonzero(outside) < 12:
        return Surroundings(0.0 if area < AROUND_MIN else area, True, 9.0)
    return Surroundings(area, _is_plain(query[outside]), _seam(query, inside))


def _closed(inside: Mask) -> Mask:
    """With the pixels at its edge, which show the match in part."""
    return _grown(inside, 2).astype(bool)


def _grown(mask: Mask, side_px: int) -> NDArray[np.uint8]:
    kernel = np.ones((2 * side_px - 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), np.uint8)


def _is_plain(colours: NDArray[np.float32]) -> bool:
    left = colours
    for _ in range(PLAIN_COLOURS):
        if len(left) < 0.02 * len(colours):
            return True
        levels = np.minimum((left * _LEVELS).astype(int), _LEVELS - 1)
        codes = levels @ [_LEVELS * _LEVELS, _LEVELS, 1]
        commonest = np.median(left[codes == np.bincount(codes).argmax()], axis=0)
        left = left[np.abs(left - commonest).max(1) > PLAIN_TOLERANCE]
    return len(left) < (1 - PLAIN_SHARE) * len(colours)


def _seam(query: Pixels, inside: Mask) -> float:
    across = smoothed(query, 0.6)
    edges: Pixels = np.zeros(inside.shape, np.float32)
    for axis in ((1, 0), (0, 1)):
        edges += np.abs(cv2.Sobel(across, cv2.CV_32F, *axis)).sum(2)
    edges = np.asarray(cv2.dilate(edges, np.ones((5, 5), np.uint8)), np.float32)
    border = _grown(inside, 2).astype(bool) & ~inside
    border[[0, -1]] = border[:, [0, -1]] = False
    if not border.any():
        return 9.0
    return float(np.median(edges[border]) / max(float(np.median(edges)), 0.02))
