"""Copies of a digit as they come about in practice: moved, turned, filtered, saved again."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter, ImageOps

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]


def _shift(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Two pixels to the right."""
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, -2, 0, 1, 0))


def _rotate(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """By ten degrees."""
    return image.rotate(10, Image.Resampling.BICUBIC)


def _blur(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """By a Gaussian with a deviation of one pixel."""
    return image.filter(ImageFilter.GaussianBlur(1))


def _noise(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """Gaussian, with a deviation of a fifth of white."""
    noisy = np.asarray(image, np.float64) + random.normal(0, 0.2 * 255, (image.height, image.width))
    return Image.fromarray(np.uint8(np.clip(noisy, 0, 255)))


def _invert(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Dark on bright."""
    return ImageOps.invert(image)


def _jpeg(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Saved with quality 30."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    saved = Image.open(buffer)
    saved.load()
    return saved


def _crop(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Three pixels cut off each side."""
    return ImageOps.crop(image, 3)


def _scale(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Twice as large."""
    return image.resize((image.width * 2, image.height * 2), Image.Resampling.BICUBIC)


ALTERATIONS: dict[str, Alteration] = {
    "shift": _shift,
    "rotate": _rotate,
    "blur": _blur,
    "noise": _noise,
    "invert": _invert,
    "jpeg": _jpeg,
    "crop": _crop,
    "scale": _scale,
}
