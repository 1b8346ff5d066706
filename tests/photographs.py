"""Photographs as people take them of a digit written on paper: made from MNIST digits, the same for the same seed."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def photograph(digit: NDArray[np.uint8], seed: int, *, side_px: int = 1000, is_chalk: bool = False) -> Image.Image:
    """A digit (28, 28) uint8, white on black, as it would look photographed.

    It is written somewhere on the sheet, a little turned, in uneven light, blurred and noisy: RGB, side_px x 3/4 side_px.
    With `is_chalk` it is bright on a dark board instead of dark on bright paper.
    """
    random = np.random.default_rng(seed)
    width, height = side_px, side_px * 3 // 4
    ink = _written(digit, width, height, random)
    paper, pen = (60.0, 220.0) if is_chalk else (random.uniform(190, 240), random.uniform(20, 90))
    light = _light(width, height, random)
    tint = np.array([1.0, random.uniform(0.93, 1.0), random.uniform(0.8, 0.95)])
    grain = random.normal(0, 5, (height, width, 1))
    scene = (paper + (pen - paper) * ink[..., None]) * light[..., None] * tint + grain
    image = Image.fromarray(np.uint8(np.clip(scene, 0, 255)))
    return image.filter(ImageFilter.GaussianBlur(random.uniform(1, 4) * side_px / 1000))


def _written(digit: NDArray[np.uint8], width: int, height: int, random: np.random.Generator) -> NDArray[np.float64]:
    size = int(height * random.uniform(0.5, 1.0))
    # Enlarged smoothly, then made sharp again: ink has an edge.
    large = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    large = large.rotate(random.uniform(-6, 6), Image.Resampling.BICUBIC)
    sharp = np.clip((np.asarray(large, np.float64) - 90) / 60, 0, 1)
    ink = np.zeros((height, width))
    top, left = (int(random.uniform(0, room)) for room in (height - size + 1, width - size + 1))
    ink[top : top + size, left : left + size] = sharp
    return ink


def _light(width: int, height: int, random: np.random.Generator) -> NDArray[np.float64]:
    """Light falling off to one side, and towards the corners as lenses do."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = random.uniform(0, 2 * np.pi)
    slope = random.uniform(0.1, 0.35) * (np.cos(angle) * x + np.sin(angle) * y)
    corners = random.uniform(0.02, 0.12) * (x**2 + y**2)
    light: NDArray[np.float64] = 0.8 + slope - corners
    return light
