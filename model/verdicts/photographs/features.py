"""Local features of a picture, and which of one picture's are those of another: RootSIFT, also of mirrored and negative pictures."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

# The nearest must be so much nearer than the second.
RATIO_MAX = 0.86
_CONTRAST_MIN = 0.02


class Features(NamedTuple):
    """What stands out in a picture.

    Attributes:
        places: (n, 2) float32, x and y of each in pixels from the middle of the upper left one.
        frames: (n, 2) float32, its size times its direction (x, y).
        descriptors: (n, 128) float32 of length 1: the closer two are, the more alike.
    """

    places: NDArray[np.float32]
    frames: NDArray[np.float32]
    descriptors: NDArray[np.float32]


class Pairs(NamedTuple):
    """Features of a query and those of a match that they are like: (n, 2) each, places and frames of both."""

    query: NDArray[np.float32]
    match: NDArray[np.float32]
    query_frames: NDArray[np.float32]
    match_frames: NDArray[np.float32]


def features(grey: NDArray[np.uint8], count: int) -> Features:
    """The `count` strongest features of a picture (h, w)."""
    sift = cv2.SIFT.create(count, contrastThreshold=_CONTRAST_MIN, enable_precise_upscale=True)
    points, described = sift.detectAndCompute(grey, None)
    if described is None:
        return Features(*(np.zeros((0, n), np.float32) for n in (2, 2, 128)))
    angles = np.radians([point.angle for point in points])
    sizes = np.array([point.size for point in points])
    frames = sizes[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.array([point.pt for point in points], np.float32)
    lengths = np.maximum(described.sum(1, keepdims=True), 1e-6)
    return Features(places, frames.astype(np.float32), np.sqrt(described / lengths))


def seen_as(descriptors: NDArray[np.float32], *, mirrored: bool, negative: bool) -> NDArray[np.float32]:
    """What descriptors (n, 128) would be in the mirrored, or negative, picture: their cells and directions change places."""
    cells = descriptors.reshape(-1, 4, 4, 8)
    if mirrored:
        cells = cells[:, ::-1][..., [0, 7, 6, 5, 4, 3, 2, 1]]
    if negative:
        cells = cells[:, ::-1, ::-1]
    return np.ascontiguousarray(cells.reshape(-1, 128))


def pairs(query: Features, descriptors: NDArray[np.float32], match: Features) -> Pairs:
    """For each feature of the match the query's nearest, where that is clearly nearer than the second; `descriptors` are the query's."""
    if len(descriptors) < 2 or len(match.places) < 2:
        nothing = np.zeros((0, 2), np.float32)
        return Pairs(nothing, nothing, nothing, nothing)
    likeness = match.descriptors @ descriptors.T
    nearest = likeness.argmax(1)
    rows = np.arange(len(likeness))
    first = likeness[rows, nearest]
    likeness[rows, nearest] = -1
    second = likeness.max(1)
    chosen = (1 - first) < RATIO_MAX**2 * (1 - second)
    return Pairs(
        query.places[nearest[chosen]], match.places[chosen], query.frames[nearest[chosen]], match.frames[chosen]
    )
