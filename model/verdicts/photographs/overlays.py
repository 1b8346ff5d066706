"""What was laid over a picture: it brings edges of its own. What moved before a camera takes as many away as it brings."""

from typing import NamedTuple

import cv2
import numpy as np

from model.verdicts.photographs.comparison import Agreement, Mask, Pixels, smoothed

# Of white: by how much a pixel differs beyond noise and what a slope makes of a small shift.
DIFFERS_MIN = 0.07


class Overlay(NamedTuple):
    """What differs where the match is.

    Attributes:
        differs: (h, w), pixels that differ beyond noise.
        area: their share of the frame.
        edges: share of the query's edges among all, in the windows that do not agree.
    """

    differs: Mask
    area: float
    edges: float


def overlay(query: Pixels, told: Agreement, inside: Mask) -> Overlay:
    """What is laid over the match in the query (h, w, 3)."""
    off = np.abs(query - told.made).max(2)
    slope = np.abs(cv2.Laplacian(smoothed(told.made, 0.7), -1)).max(2)
    apart = told.textured & ~told.agreeing
    differs = inside & (off > DIFFERS_MIN + 3 * told.noise + slope)
    near = cv2.dilate(apart.astype(np.uint8), np.ones((9, 9), np.uint8)).astype(bool)
    one, other = (_edges(each)[apart].sum() for each in (query, told.made))
    return Overlay(differs & near, float(np.mean(differs & near)), float(one / max(one + other, 1e-9)))


def _edges(pixels: Pixels) -> Pixels:
    across, down = (cv2.Sobel(pixels, cv2.CV_32F, *axis) for axis in ((1, 0), (0, 1)))
    return np.asarray((np.abs(across) + np.abs(down)).sum(2) ** 2, np.float32)
