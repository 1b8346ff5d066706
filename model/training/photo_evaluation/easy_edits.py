"""Sixteen ways in which people alter a photo a little, and what all edits are made of.

Each takes a photo, others to lay beneath or beside it, and a source of chance, and returns another picture; all are RGB.
"""

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Alter = Callable[[Image.Image, Sequence[Image.Image], np.random.Generator], Image.Image]
BICUBIC = Image.Resampling.BICUBIC


def scaled(photo: Image.Image, width: float, height: float, resampling: Image.Resampling = BICUBIC) -> Image.Image:
    """The photo at another size, at least one pixel wide and high."""
    return photo.resize((max(1, round(width)), max(1, round(height))), resampling)


def with_longer_side(photo: Image.Image, side_px: float) -> Image.Image:
    """The photo with its longer side of so many pixels."""
    scale = side_px / max(photo.size)
    return scaled(photo, photo.width * scale, photo.height * scale)


def cropped(photo: Image.Image, area: float, random: np.random.Generator) -> Image.Image:
    """A part with that share of the area, of the same shape, anywhere."""
    width, height = (max(1, int(side * area**0.5)) for side in photo.size)
    left, top = (int(random.integers(0, room + 1)) for room in (photo.width - width, photo.height - height))
    return photo.crop((left, top, left + width, top + height))


def as_jpeg(photo: Image.Image, quality: int) -> Image.Image:
    """What a JPEG of that quality shows."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def pasted(photo: Image.Image, ground: Image.Image, random: np.random.Generator) -> Image.Image:
    """The photo laid somewhere on another one; what does not fit is cut off."""
    photo = photo.crop((0, 0, min(photo.width, ground.width), min(photo.height, ground.height)))
    left, top = (int(random.integers(0, ground.size[axis] - photo.size[axis] + 1)) for axis in (0, 1))
    ground = ground.copy()
    ground.paste(photo, (left, top))
    return ground


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """A picture of (h, w, 3) numbers, cut off below 0 and above 255."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def colour(random: np.random.Generator) -> tuple[int, int, int]:
    """Any colour."""
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _crop(area: float) -> Alter:
    return lambda photo, _, random: cropped(photo, area, random)


def _turned(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    return photo.rotate(float(random.choice([-15, 15])), BICUBIC, expand=True)


def _brightness(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(float(random.choice([0.5, 1.7])))


def _hue(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    shift = int(random.integers(20, 60))
    hue, *others = photo.convert("HSV").split()
    moved = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (moved, *others)).convert("RGB")


def _noise(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(photo, np.float32)
    return from_pixels(pixels + 25 * random.standard_normal(pixels.shape, np.float32))


def _text(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    photo = photo.copy()
    draw = ImageDraw.Draw(photo)
    for _line in range(3):
        at = tuple(int(random.integers(0, max(1, side))) for side in (photo.width - 60, photo.height - 20))
        words = f"SAMPLE TEXT {random.integers(1000)}"
        draw.text((at[0], at[1]), words, fill=colour(random), font_size=max(14, photo.height // 8))
    return photo


def _border(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    return ImageOps.expand(photo, max(1, int(0.12 * max(photo.size))), fill=colour(random))


def _shot(photo: Image.Image, others: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """At 60 % of the side in another photo, as a picture in a picture."""
    return pasted(scaled(photo, 0.6 * photo.width, 0.6 * photo.height), others[0].resize(photo.size), random)


def _mild(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    return as_jpeg(ImageEnhance.Brightness(cropped(photo, 0.8, random)).enhance(1.2), 30)


EASY: dict[str, Alter] = {
    "jpeg10": lambda photo, _, __: as_jpeg(photo, 10),
    "crop70": _crop(0.7),
    "crop40": _crop(0.4),
    "flip": lambda photo, _, __: ImageOps.mirror(photo),
    "rot15": _turned,
    "rot90": lambda photo, _, __: photo.transpose(Image.Transpose.ROTATE_90),
    "blur": lambda photo, _, __: photo.filter(ImageFilter.GaussianBlur(max(photo.size) / 80)),
    "grey": lambda photo, _, __: ImageOps.grayscale(photo).convert("RGB"),
    "bright": _brightness,
    "hue": _hue,
    "noise": _noise,
    "text": _text,
    "border": _border,
    "shot": _shot,
    "small": lambda photo, _, __: scaled(photo, photo.width // 6, photo.height // 6),
    "mild": _mild,
}
