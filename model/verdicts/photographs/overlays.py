"""What was laid over a picture: it brings edges of its own, or hides what is beneath. What moved before a camera takes as many away as it brings."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.comparison import SMOOTHING_PX, Agreement, Mask, Pixels, max_of, smoothed

# A colour is an ink's if it is so close to it.
INK_TOLERANCE, INKS_MAX = 0.06, 3
# Of what differs, that differs most: an ink that covers all.
CORE_PERCENT = 60
# What looks like ink: of what moved it is some 0.9, of text 1.2; and each of two signs alone.
LIKELINESS_MIN, EDGES_ALONE, ONE_ALONE = 1.05, 0.93, 0.92
# Less than this is what an edge leaves that is a part of a pixel off.
COVER_MIN = 0.2
_LEVELS = 12


class Overlay(NamedTuple):
    """What differs where the match is.

    Attributes:
        area: share of the frame that is covered, what is covered in part counted in part.
        edges: share of the query's edges among those of both, in windows that do not agree.
        ink, ground: share of what differs most that has one of two colours, in the query and in the match.
        one: share of it that has one colour, in the query.
    """

    area: float
    edges: float
    ink: float
    ground: float
    one: float

    @property
    def is_laid(self) -> bool:
        """Whether it looks like ink: it brings edges and has few colours, fewer than what is beneath; or brings edges alone, or has one."""
        likeliness = self.edges + self.ink / 2 + (self.ink - self.ground)
        return likeliness > LIKELINESS_MIN or self.edges > EDGES_ALONE or self.one > ONE_ALONE


NOTHING = Overlay(0.0, 0.0, 0.0, 0.0, 0.0)


def overlay(query: Pixels, made: Pixels, told: Agreement) -> Overlay:
    """What is laid over the match, `made` to look like the query (h, w, 3), in the query."""
    near = _grown(told.apart, 4) & told.differs
    if np.count_nonzero(near) < 8:
        return NOTHING
    apart = told.textured & ~told.agreeing
    ours, other = (_edges(smoothed(each, SMOOTHING_PX))[apart].sum() for each in (query, made))
    off = max_of(np.abs(query - made))
    core = near & (off >= np.percentile(off[near], CORE_PERCENT))
    inks, one, ink = _inks(query[core])
    _, _, ground = _inks(made[core])
    around = _grown(near, 2)
    covered = _covered(query[around], made[around], inks)
    return Overlay(covered / near.size, float(ours / max(ours + other, 1e-9)), ink, ground, one)


def _covered(query: NDArray[np.float32], made: NDArray[np.float32], inks: NDArray[np.float64]) -> float:
    """Pixels (n, 3) that are covered by the ink that is most like them, in part where both show."""
    to_ink = inks[:, None] - made[None]
    length = np.maximum((to_ink**2).sum(2), 0.01)
    shares = np.clip(((query - made)[None] * to_ink).sum(2) / length, 0, 1)
    off = np.linalg.norm((query - made)[None] - shares[..., None] * to_ink, axis=2)
    shown = shares[off.argmin(0), np.arange(len(query))]
    return float(shown[shown > COVER_MIN].sum())


def _inks(colours: NDArray[np.float32]) -> tuple[NDArray[np.float64], float, float]:
    """The commonest colours of (n, 3), and the shares that have the first, and one of the first two."""
    left, inks, shares = colours, [], [0.0, 0.0]
    for number in range(INKS_MAX):
        levels = np.minimum((left * _LEVELS).astype(int), _LEVELS - 1)
        codes = levels @ [_LEVELS * _LEVELS, _LEVELS, 1]
        inks.append(np.median(left[codes == int(np.bincount(codes).argmax())], axis=0))
        left = left[np.abs(left - inks[-1]).max(1) > INK_TOLERANCE]
        shares[number:2] = [1 - len(left) / len(colours)] * len(shares[number:2])
        if len(left) < 0.1 * len(colours):
            break
    return np.array(inks, np.float64), shares[0], shares[1]


def _grown(mask: Mask, by_px: int) -> Mask:
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((2 * by_px + 1,) * 2, np.uint8)), bool)


def _edges(pixels: Pixels) -> Pixels:
    across, down = (cv2.Sobel(pixels, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return np.asarray((np.abs(across) + np.abs(down)).sum(2) ** 2, np.float32)
