"""How a match stands in a query, in words: cropped, mirrored, turned, of another size, and the outline of what both show."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.frames import Edit
from model.verdicts.photographs.alignment import Matrix, inverse, local, moved

# Less than this is what fitting alone may be off.
CROP_MIN, TURN_DEG_MIN, SCALE_MIN, STRETCH_MIN, PERSPECTIVE_MIN = 0.015, 0.8, 0.02, 0.035, 0.02
Size = tuple[int, int]


class Placing(NamedTuple):
    """Where a match is in a query; both pictures' own pixels.

    Attributes:
        query_outline, match_outline: (n, 2), corners of what both show, the same in each.
        shown: share of the match that the query shows.
        covered: share of the query that shows the match.
        angle_deg: by which the match was turned counter-clockwise, after it was mirrored.
        scale: pixels of the query to one of the match.
        stretch: by how much more it was enlarged in width than in height, of the match.
        is_mirrored: left for right.
    """

    query_outline: NDArray[np.float64]
    match_outline: NDArray[np.float64]
    shown: float
    covered: float
    angle_deg: float
    scale: float
    stretch: float
    is_mirrored: bool
    perspective: float


def placing(
    matrix: Matrix, query_size: Size, match_size: Size, clip: NDArray[np.float64] | None = None
) -> Placing | None:
    """What an alignment of the whole pictures means; None where they do not meet.

    Args:
        clip: (4, 2), corners of the part of the query that shows the match, if it is not all that could.
    """
    back = inverse(matrix)
    whole = moved(back, corners(match_size))
    if not cv2.isContourConvex(whole.astype(np.float32).reshape(-1, 1, 2)):
        return None
    area, shared = cv2.intersectConvexConvex(
        whole.astype(np.float32), (corners(query_size) if clip is None else clip).astype(np.float32)
    )
    if shared is None or len(shared) < 3 or area <= 0:
        return None
    query_outline = shared.reshape(-1, 2).astype(np.float64)
    match_outline = moved(matrix, query_outline)
    to_query = local(back, match_outline.mean(0))
    mirrored = bool(np.linalg.det(to_query) < 0)
    upright = to_query @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    angle = math.degrees(math.atan2(upright[0, 1] - upright[1, 0], upright[0, 0] + upright[1, 1]))
    across, down = np.linalg.norm(upright, axis=0)
    return Placing(
        query_outline,
        match_outline,
        _area(match_outline) / (match_size[0] * match_size[1]),
        _area(query_outline) / (query_size[0] * query_size[1]),
        angle,
        math.sqrt(abs(float(np.linalg.det(to_query)))),
        float(across / down),
        mirrored,
        _perspective(matrix, query_outline),
    )


def placing_edits(placed: Placing, query_size: Size, match_size: Size) -> list[Edit]:
    """The placing in words, but for what is around and over the match."""
    done: list[Edit] = []
    if placed.is_mirrored:
        done.append(Edit("mirrored", 1.0, ""))
    if abs(placed.angle_deg) > TURN_DEG_MIN:
        done.append(Edit("rotation", placed.angle_deg, "°"))
    cropped = _cropped(placed, query_size, match_size)
    if cropped > CROP_MIN:
        done.append(Edit("crop", cropped, "of width and height"))
    if abs(placed.scale - 1) > SCALE_MIN:
        done.append(Edit("scale", placed.scale, "×"))
    if abs(math.log(placed.stretch)) > STRETCH_MIN:
        done.append(Edit("stretch", placed.stretch, "×"))
    if placed.perspective > PERSPECTIVE_MIN:
        done.append(Edit("perspective", placed.perspective, "of width and height"))
    return done


def corners(size: Size) -> NDArray[np.float64]:
    """The corners of a picture (w, h), from the upper left one clockwise; 0 is the middle of its first pixel."""
    width, height = size
    return np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) - 0.5


def is_upright(angle_deg: float) -> bool:
    """Whether that turn takes rectangles to upright ones."""
    return abs((angle_deg + 45) % 90 - 45) < TURN_DEG_MIN


def _cropped(placed: Placing, query_size: Size, match_size: Size) -> float:
    """The share of width and height that is missing; what turning within the same frame cuts off at the corners is not counted."""
    if is_upright(placed.angle_deg) or placed.shown > 0.995:
        sides = np.ptp(placed.match_outline, axis=0) / match_size
        return float(1 - np.minimum(sides, 1).mean())
    turned = abs(math.radians(placed.angle_deg))
    middle = moved_middle(placed)
    is_same_frame = query_size == match_size and float(
        np.hypot(*(middle - (np.array(match_size) - 1) / 2))
    ) < 0.02 * max(match_size)
    if is_same_frame and abs(placed.scale - 1) < SCALE_MIN and turned:
        return 0.0
    return 1 - math.sqrt(placed.shown)


def moved_middle(placed: Placing) -> NDArray[np.float64]:
    """The middle of what the match shows of itself."""
    return np.asarray(placed.match_outline.mean(0))


def _perspective(matrix: Matrix, outline: NDArray[np.float64]) -> float:
    """By how much scales differ over the outline."""
    weights = np.c_[outline, np.ones(len(outline))] @ matrix[2]
    return float(weights.max() / weights.min() - 1) if weights.min() > 0 else 9.0


def _area(outline: NDArray[np.float64]) -> float:
    x, y = outline.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
