"""Altered copies of a digit by one edit of a random amount, which is known: what explanations are measured against."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from model.training.alterations import saved_as_jpeg

RANDOM_SIGNS = (-1, 1)


class Edited(NamedTuple):
    """An altered copy and what was done: names and amounts are those of a verdict's edits."""

    image: Image.Image
    name: str
    amount: float


def _shift(image: Image.Image, random: np.random.Generator) -> Edited:
    """By up to 3 whole pixels along each axis, not 0 along both; black comes in."""
    x = y = 0
    while not x and not y:
        x, y = (int(n) for n in random.integers(-3, 4, 2))
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, -x, 0, 1, -y))
    return Edited(moved, "shift", float(np.hypot(x, y)))


def _rotation(image: Image.Image, random: np.random.Generator) -> Edited:
    """By 5 to 20 degrees either way, in the same frame."""
    angle = float(random.uniform(5, 20) * random.choice(RANDOM_SIGNS))
    return Edited(image.rotate(angle, Image.Resampling.BICUBIC), "rotation", angle)


def _scale(image: Image.Image, random: np.random.Generator) -> Edited:
    """To 0.8 to 0.95 or 1.05 to 1.2 of its size: half of them with the frame, half within the frame."""
    scale = float(random.uniform(0.05, 0.2) * random.choice(RANDOM_SIGNS)) + 1
    if random.random() < 0.5:
        size = (round(image.width * scale), round(image.height * scale))
        return Edited(image.resize(size, Image.Resampling.BICUBIC), "scale", size[0] / image.width)
    keep_x, keep_y = ((1 - 1 / scale) * side / 2 for side in image.size)
    data = (1 / scale, 0, keep_x, 0, 1 / scale, keep_y)
    zoomed = image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    return Edited(zoomed, "scale", scale)


def _crop(image: Image.Image, random: np.random.Generator) -> Edited:
    """5 to 15 % of width and height cut off, anywhere."""
    share = random.uniform(0.05, 0.15)
    width, height = (max(1, round(side * share)) for side in image.size)
    left, top = int(random.integers(0, width + 1)), int(random.integers(0, height + 1))
    box = (left, top, left + image.width - width, top + image.height - height)
    return Edited(image.crop(box), "crop", (width / image.width + height / image.height) / 2)


def _inversion(image: Image.Image, _: np.random.Generator) -> Edited:
    return Edited(ImageOps.invert(image), "inversion", 1.0)


def _blur(image: Image.Image, random: np.random.Generator) -> Edited:
    """By a Gaussian with a deviation of 0.6 to 1.5 pixels."""
    deviation = float(random.uniform(0.6, 1.5))
    return Edited(image.filter(ImageFilter.GaussianBlur(deviation)), "blur", deviation)


def _noise(image: Image.Image, random: np.random.Generator) -> Edited:
    """Gaussian, with a deviation of 0.05 to 0.25 of white."""
    deviation = float(random.uniform(0.05, 0.25))
    return Edited(_from_float(_floats(image) + random.normal(0, deviation, image.size[::-1])), "noise", deviation)


def _jpeg(image: Image.Image, random: np.random.Generator) -> Edited:
    """Saved with quality 20 to 60."""
    quality = int(random.integers(20, 61))
    return Edited(saved_as_jpeg(image, quality), "jpeg", float(quality))


def _brightness(image: Image.Image, random: np.random.Generator) -> Edited:
    """Brighter or darker by 0.1 to 0.3 of white."""
    offset = float(random.uniform(0.1, 0.3) * random.choice(RANDOM_SIGNS))
    return Edited(_from_float(_floats(image) + offset), "brightness", offset)


def _contrast(image: Image.Image, random: np.random.Generator) -> Edited:
    """Differences from middle grey times 0.5 to 0.85 or 1.15 to 1.6."""
    factor = float(random.uniform(0.5, 0.85) if random.random() < 0.5 else random.uniform(1.15, 1.6))
    return Edited(_from_float((_floats(image) - 0.5) * factor + 0.5), "contrast", factor)


def _floats(image: Image.Image) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    return np.asarray(image, np.float64) / 255


def _from_float(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> Image.Image:
    return Image.fromarray(np.uint8(np.rint(np.clip(pixels, 0, 1) * 255)))


SINGLE_EDITS: dict[str, Callable[[Image.Image, np.random.Generator], Edited]] = {
    "shift": _shift,
    "rotation": _rotation,
    "scale": _scale,
    "crop": _crop,
    "inversion": _inversion,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "contrast": _contrast,
}
# Amounts of these are factors, and 1 is no edit; of the others 0 is.
FACTORS = ("scale", "contrast")


def is_amount_right(name: str, found: float, true: float, tolerance: float = 0.2) -> bool:
    """Whether an amount is within `tolerance` of the true one; of a factor, of how far that is from 1."""
    neutral = 1.0 if name in FACTORS else 0.0
    return abs(found - true) <= tolerance * abs(true - neutral) + 1e-9
