"""The part of a query that shows a match, where another picture covers the rest: in a collage each is cut to its place."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.comparison import Agreement, Mask, Pixels

CELLS = 44
# What does not agree counts for so much more.
APART_WEIGHT = 2.5
# The part has such a share of what could show the match, and in it such a share of the windows agrees.
AREA_MIN, AREA_MAX, SHARE_MIN = 0.12, 0.97, 0.95
# Of what is beyond it so little may agree: what is only laid over the match leaves more.
FOREIGN_MAX, DIFFERING_MIN = 0.12, 0.5
# How much steeper than beside it the query is where it is cut; of all such sides on average, and of each.
_SEAM_MIN, SEAM_EACH_MIN = 2.0, 1.4


class Box(NamedTuple):
    """A part of a frame, in whole pixels."""

    left: int
    top: int
    right: int
    bottom: int

    def corners(self) -> NDArray[np.float64]:
        """From the upper left one clockwise."""
        left, top, right, bottom = (side - 0.5 for side in self)
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])

    def mask(self, shape: tuple[int, ...]) -> Mask:
        """(h, w), true in the box."""
        mask = np.zeros(shape, bool)
        mask[self.top : self.bottom, self.left : self.right] = True
        return mask


def visible(query: Pixels, inside: Mask, told: Agreement) -> Box | None:
    """The box in which both agree, if the query is cut along its sides; None if there is none."""
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    outer = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    step = max(1, max(inside.shape) // CELLS)
    scores = told.agreeing.astype(np.float32) - APART_WEIGHT * told.apart
    found = _best(_summed(scores, step))
    if found is None:
        return None
    box = Box(*(side * step for side in found))
    refined, seams = [], []
    for axis in (0, 1):
        for is_end in (False, True):
            at, outermost = box[axis + 2 * is_end], outer[axis + 2 * is_end]
            side, seam = _cut(query, box, axis, at, outermost, step)
            refined.append(side)
            seams += [] if seam is None else [seam]
    cut = Box(refined[0], refined[2], refined[1], refined[3])
    if not seams or np.mean(seams) < _SEAM_MIN or min(seams) < SEAM_EACH_MIN:
        return None
    mask = cut.mask(inside.shape) & inside
    share = np.count_nonzero(mask) / np.count_nonzero(inside)
    textured = np.count_nonzero(told.textured & mask)
    inner = cut.mask(inside.shape)
    apart = np.count_nonzero(told.apart & _shrunk(cut, step).mask(inside.shape) & inner)
    beyond = [np.count_nonzero(each & ~inner) for each in (told.agreeing, told.apart)]
    differing = np.mean((told.apart | told.differs)[inside & ~inner]) if (inside & ~inner).any() else 0.0
    is_foreign = beyond[0] < FOREIGN_MAX * sum(beyond) and differing > DIFFERING_MIN
    is_sound = AREA_MIN < share < AREA_MAX and textured > 0 and 1 - apart / textured > SHARE_MIN
    return cut if is_sound and is_foreign else None


def _shrunk(box: Box, by_px: int) -> Box:
    """Windows at a side see what is beyond it."""
    by = 2 * by_px
    return Box(box.left + by, box.top + by, box.right - by, box.bottom - by)


def _cut(query: Pixels, box: Box, axis: int, at: int, outermost: int, step: int) -> tuple[int, float | None]:
    """Where near `at` the query is cut across an axis (0: x), and how much steeper it is there; None where it ends anyway."""
    if abs(at - outermost) <= 2 * step:
        return outermost, None
    other = query[box.top : box.bottom] if axis == 0 else query[:, box.left : box.right].transpose(1, 0, 2)
    steep = np.abs(np.diff(other, axis=1)).sum(2).mean(0)
    low, high = max(0, at - 5 * step), min(len(steep), at + 5 * step)
    if high - low < 4:
        return at, 1.0
    near = steep[low:high]
    best = int(near.argmax())
    return low + best + 1, float(near[best] / max(float(np.median(near)), 0.02))


def _summed(scores: Pixels, step: int) -> NDArray[np.float64]:
    height, width = (side // step for side in scores.shape)
    cells = scores[: height * step, : width * step].reshape(height, step, width, step)
    return np.asarray(cells.sum((1, 3)), np.float64)


def _best(cells: NDArray[np.float64]) -> Box | None:
    """The box of cells with the largest sum: over all pairs of rows the best stretch of columns."""
    below = np.vstack([np.zeros(cells.shape[1]), np.cumsum(cells, 0)])
    tops, bottoms = np.triu_indices(len(below), 1)
    sums = np.cumsum(np.c_[np.zeros(len(tops)), below[bottoms] - below[tops]], 1)
    lowest = np.minimum.accumulate(sums, 1)
    gains = sums[:, 1:] - lowest[:, :-1]
    row, right = np.unravel_index(int(gains.argmax()), gains.shape)
    if gains[row, right] <= 0:
        return None
    left = int(sums[row, : right + 1].argmin())
    return Box(left, int(tops[row]), int(right) + 1, int(bottoms[row]))
