"""Ways in which people alter pictures before they pass them on, to show that they are found all the same."""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont, ImageOps

# What a person would send: larger ones only take longer.
_SIDE_PX_MAX = 1024


def altered(value: bytes, number: int) -> tuple[str, bytes]:
    """The picture altered in one of five ways, in words and as a JPEG.

    Raises:
        Exception: whatever Pillow raises on a picture that it cannot open.
    """
    opened = Image.open(io.BytesIO(value))
    picture = ImageOps.exif_transpose(opened).convert("RGB")
    picture.thumbnail((_SIDE_PX_MAX, _SIDE_PX_MAX))
    words, alter, quality = _WAYS[number % len(_WAYS)]
    buffer = io.BytesIO()
    alter(picture).save(buffer, "JPEG", quality=quality)
    return words, buffer.getvalue()


def _cropped(picture: Image.Image) -> Image.Image:
    width, height = picture.size
    return picture.crop((width // 5, height // 10, max(width // 5 + 1, width), max(height // 10 + 1, height * 9 // 10)))


def _turned(picture: Image.Image) -> Image.Image:
    return picture.rotate(12, Image.Resampling.BICUBIC, fillcolor="white")


def _captioned(picture: Image.Image) -> Image.Image:
    framed = ImageOps.expand(picture, max(4, max(picture.size) // 12), "black")
    font = ImageFont.load_default(max(12, framed.height // 12))
    draw = ImageDraw.Draw(framed)
    draw.text(
        (framed.width // 2, framed.height // 2), "look alike", "white", font, "mm", stroke_width=2, stroke_fill="black"
    )
    return framed


_WAYS: tuple[tuple[str, Callable[[Image.Image], Image.Image], int], ...] = (
    ("cropped to 64 % of its area", _cropped, 85),
    ("mirrored", ImageOps.mirror, 85),
    ("in grey, as a poor JPEG", ImageOps.grayscale, 25),
    ("turned by 12°", _turned, 85),
    ("with a border and text", _captioned, 85),
)
