"""What was done to a picture's quality: blurred, made noisy, saved as JPEG. The last two are seen in the query's own pixels."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.comparison import LUMA, Pixels

JPEG_QUALITIES = range(5, 81)
# Better ones leave no trace, or are what the picture was published with.
QUALITY_MAX = 70
BLOCKS_MAX = 250
# How well what was rounded stands on multiples of its step: 1 of a picture that was just opened, 0 of any other.
COMB_MIN = 0.55
# The first coefficients of a block, which are rarely all 0.
_FIRST = [(0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
_TABLE = np.array(
    [[16, 11, 10, 16], [12, 12, 14, 19], [14, 13, 16, 24], [14, 17, 22, 29]],
    float,
)
# What noise of deviation 1 in each colour makes of grey and of blue less grey.
LUMA_OF_EACH, BLUE_OF_EACH = 0.668, 0.623
COLOURED_SHARE_MIN = 0.25
_HIGH = np.array([[1, -1], [-1, 1]], np.float32) / 2


def jpeg_quality(grey: NDArray[np.float32]) -> int:
    """The quality with which a picture (h, w), of 255 greys, was last saved as JPEG and not changed since; 0 if it was not, or well."""
    height, width = (side // 8 for side in grey.shape)
    if height * width < 16:
        return 0
    blocks = grey[: height * 8, : width * 8].reshape(height, 8, width, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    blocks = blocks[:: max(1, len(blocks) // BLOCKS_MAX)]
    blocks = blocks[(blocks.min((1, 2)) > 2) & (blocks.max((1, 2)) < 253)]
    if len(blocks) < 12:
        return 0
    basis = _cosines()
    transformed = basis @ (blocks - 128) @ basis.T
    found = np.abs(np.stack([transformed[:, y, x] for y, x in _FIRST], 1))
    combs = {quality: _comb(found, quality) for quality in JPEG_QUALITIES}
    best = max(combs, key=lambda quality: (combs[quality], -quality))
    return best if combs[best] > COMB_MIN else 0


@cache
def _steps(quality: int) -> NDArray[np.float64]:
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.clip(np.floor((_TABLE * scale + 50) / 100), 1, 255)
    return np.array([table[y, x] for y, x in _FIRST])


def _comb(found: NDArray[np.float32], quality: int) -> float:
    """Mean cosine of how far coefficients are from multiples of their steps, of those that are not 0; small steps prove nothing."""
    steps = _steps(quality)
    known = steps >= 4
    if not known.any():
        return 0.0
    values, steps = found[:, known], steps[known]
    shown = values > 0.5 * steps
    if np.count_nonzero(shown) < 30:
        return 0.0
    standing = np.cos(values * (2 * np.pi / steps).astype(np.float32))
    # What is not 0 stands on steps, and few are between 0 and the first.
    return float(standing[shown].mean())


@cache
def _cosines() -> NDArray[np.float32]:
    places = np.arange(8)
    basis = np.cos(np.pi * (2 * places[None] + 1) * places[:, None] / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def noise(picture: Pixels) -> float:
    """Deviation of the noise of each colour of a picture (h, w, 3), of white: by the median of its finest differences.

    What files leave out of colours, every second pixel, is made up for: what is left of their noise shows at half the size.
    """
    light = _finest(picture @ LUMA)
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    blue = (small[..., 2] - small @ LUMA) * np.float32(0.564)
    of_each = light / LUMA_OF_EACH
    return of_each if 2 * _finest(blue) / BLUE_OF_EACH > COLOURED_SHARE_MIN * of_each else light


def _finest(pixels: Pixels) -> float:
    fine = np.abs(cv2.filter2D(pixels, -1, _HIGH))
    inside = (pixels > -0.48) & (pixels != 0) & (pixels < 0.98)
    return float(np.median(fine[inside])) / 0.6745 if np.count_nonzero(inside) > 100 else 0.0
