"""What was done to a picture's quality: blurred, made noisy, saved as JPEG. The last two are seen in the query's own pixels."""

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.comparison import Pixels

QUALITIES = range(5, 96)
# Better ones leave no trace, or are what the picture was published with.
QUALITY_MAX = 70
BLOCKS_MAX = 900
# How well what was rounded stands on multiples of its step: 1 of a picture that was just opened, 0 of any other.
COMB_MIN = 0.55
# The first coefficients of a block, which are rarely all 0.
_FIRST = [(0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
_TABLE = np.array(
    [[16, 11, 10, 16], [12, 12, 14, 19], [14, 13, 16, 24], [14, 17, 22, 29]],
    float,
)
_HIGH = np.array([[1, -1], [-1, 1]], np.float32) / 2
_SIDE_PX_MAX = 1024


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
    return max(QUALITIES, key=lambda quality: (_comb(found, quality), -quality)) if _is_combed(found) else 0


def _is_combed(found: NDArray[np.float32]) -> bool:
    return max(_comb(found, quality) for quality in QUALITIES) > COMB_MIN


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
    standing = np.cos(2 * np.pi * values / steps)
    # What is not 0 stands on steps, and few are between 0 and the first.
    return float(standing[shown].mean())


@cache
def _cosines() -> NDArray[np.float32]:
    places = np.arange(8)
    basis = np.cos(np.pi * (2 * places[None] + 1) * places[:, None] / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


def noise(picture: Pixels) -> float:
    """Deviation of the noise of a picture (h, w, 3), of white: by the median of its finest differences."""
    height, width = (min(side, _SIDE_PX_MAX) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    part = picture[top : top + height, left : left + width]
    fine = np.abs(cv2.filter2D(part, -1, _HIGH))
    inside = (part > 0.02) & (part < 0.98)
    if np.count_nonzero(inside) < 100:
        return 0.0
    return float(np.median(fine[inside])) / 0.6745
