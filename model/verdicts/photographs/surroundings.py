"""What is around a match in a query: a border, another picture that it was pasted into, its neighbours in a collage, or more of the scene."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.alignment import Matrix, moved
from model.verdicts.photographs.comparison import Frame, Mask, Pixels

# Less than this share of the frame around it is nothing.
AROUND_MIN = 0.012
# Of what is around, what has one of few colours; with text on it, a border is not all of one.
PLAIN_SHARE, PLAIN_TOLERANCE, PLAIN_COLOURS = 0.85, 0.05, 2
# How much steeper than beside it pictures are where another one begins.
SEAM_MIN, SEAM_PLAIN_MIN, SEAM_MAX = 1.7, 1.3, 6.0
# Lines beside a side of the match: where it may end, and where it does not.
_STRIP_PX, _AT_PX, _STEPS = 12, 2, 64
_LEVELS = 16


class Surroundings(NamedTuple):
    """What is around the match.

    Attributes:
        area: share of the frame that does not show the match.
        is_plain: it has few colours.
        seam: how much steeper the query is where the match ends than beside that, on average; 1 where it goes on.
    """

    area: float
    is_plain: bool
    seam: float


def surroundings(
    small: Pixels, to_small: Matrix, outline: NDArray[np.float64], laid: Frame, to_frame: Matrix
) -> Surroundings:
    """What is around the match, whose corners in the query are `outline` (n, 2).

    Args:
        small: (h, w, 3), the whole query; `to_small` takes places in the query there.
        laid: the match and what is near it; `to_frame` takes places in the query there.
    """
    shown = np.zeros(small.shape[:2], np.uint8)
    places = np.round(16 * moved(to_small, outline)).astype(np.int32)
    cv2.fillConvexPoly(shown, places, 1, shift=4)
    outside = ~_grown(shown.astype(bool), 2)
    area = float(np.mean(~_grown(laid.inside, 2)))
    if area < AROUND_MIN or np.count_nonzero(outside) < 8:
        return Surroundings(0.0, True, SEAM_MAX)
    return Surroundings(area, _is_plain(small[outside]), seam(laid.query, moved(to_frame, outline)))


def seam(query: Pixels, outline: NDArray[np.float64]) -> float:
    """How much steeper the query is across the sides of an outline than beside them; those at its edge do not count."""
    size = np.array([query.shape[1], query.shape[0]])
    told, lengths = [], []
    for start, end in zip(outline, np.roll(outline, -1, 0), strict=True):
        along = end - start
        length = float(np.linalg.norm(along))
        middle = (start + end) / 2
        if length < 6 or min(*(middle + 0.5), *(size - 0.5 - middle)) < 2.5:
            continue
        told.append(min(_steepness(query, start, along / length, length), SEAM_MAX))
        lengths.append(length)
    return float(np.average(told, weights=lengths)) if told else SEAM_MAX


def _steepness(query: Pixels, start: NDArray[np.float64], along: NDArray[np.float64], length: float) -> float:
    """Of one side: the steepest line near it by the median of those beside it."""
    across = np.array([-along[1], along[0]])
    steps = np.linspace(0.05, 0.95, _STEPS) * length
    beside = np.arange(-_STRIP_PX, _STRIP_PX + 1)
    places = start + steps[None, :, None] * along + beside[:, None, None] * across
    x, y = (np.ascontiguousarray(places[..., axis], np.float32) for axis in (0, 1))
    strip = cv2.remap(query, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    steep = np.abs(strip[2:] - strip[:-2]).sum(2).mean(1)
    is_shown = ((x >= 0) & (y >= 0) & (x < query.shape[1]) & (y < query.shape[0])).mean(1)[1:-1] > 0.5
    near = np.abs(beside[1:-1]) <= _AT_PX
    if not (near & is_shown).any() or np.count_nonzero(~near & is_shown) < 4:
        return 1.0
    return float(steep[near & is_shown].max() / max(float(np.median(steep[~near & is_shown])), 0.02))


def _grown(mask: Mask, side_px: int) -> Mask:
    kernel = np.ones((2 * side_px - 1,) * 2, np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel), bool)


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
