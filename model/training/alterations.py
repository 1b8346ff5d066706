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
    return _add_noise(image, 0.2, random)


def _invert(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Dark on bright."""
    return ImageOps.invert(image)


def _jpeg(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """Saved with quality 30."""
    return saved_as_jpeg(image, 30)


def saved_as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    """`image` as it comes back from a JPEG file of that quality, 1 to 95."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    saved = Image.open(buffer)
    saved.load()
    return saved


def _crop(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """A tenth of width and height cut off, half of it on either side: of 28 pixels, one left and above, two right and below."""
    width, height = round(image.width / 10), round(image.height / 10)
    return image.crop(
        (width // 2, height // 2, image.width - (width - width // 2), image.height - (height - height // 2))
    )


def _scale(image: Image.Image, _: np.random.Generator) -> Image.Image:
    """To four fifths of its size."""
    return _resize(image, 0.8)


def _mild(image: Image.Image, random: np.random.Generator) -> Image.Image:
    """All of them one after the other, each less: of a copy that was scanned, say, and passed on."""
    turned = image.rotate(random.uniform(-5, 5), Image.Resampling.BICUBIC, translate=tuple(random.integers(-1, 2, 2)))
    cropped = ImageOps.crop(_resize(turned, random.uniform(0.85, 1.15)), 1)
    noisy = _add_noise(cropped.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.5))), 0.05, random)
    return saved_as_jpeg(ImageOps.invert(noisy), 60)


def _resize(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _add_noise(image: Image.Image, deviation: float, random: np.random.Generator) -> Image.Image:
    noisy = np.asarray(image, np.float64) + random.normal(0, deviation * 255, (image.height, image.width))
    return Image.fromarray(np.uint8(np.clip(noisy, 0, 255)))


ALTERATIONS: dict[str, Alteration] = {
    "shift": _shift,
    "rotate": _rotate,
    "blur": _blur,
    "noise": _noise,
    "invert": _invert,
    "jpeg": _jpeg,
    "crop": _crop,
    "scale": _scale,
    "mild": _mild,
}
