"""What is done to Pillow's images in several places, and small pictures that load its plugins."""

import io
from collections.abc import Iterator

from PIL import Image


def on_white(image: Image.Image) -> Image.Image:
    """Transparent pixels show white, as on a page; a picture without any is returned as it is."""
    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def as_rgb(image: Image.Image) -> Image.Image:
    """In colour, on white where it is transparent."""
    return on_white(image).convert("RGB")


def at_most(image: Image.Image, side_px: int, *, reducing_gap: float = 2.0) -> Image.Image:
    """The picture with a longer side of `side_px` pixels; one that is no larger is returned as it is."""
    scale = side_px / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=reducing_gap)


def samples() -> Iterator[bytes]:
    """A small picture in every format that is quickly written, so that a child can load Pillow's plugins before anybody's images count."""
    for mode, kind in (("L", "PNG"), ("RGB", "JPEG"), ("RGBA", "WEBP"), ("P", "GIF"), ("RGB", "BMP"), ("L", "TIFF")):
        buffer = io.BytesIO()
        Image.linear_gradient("L").resize((40, 40)).convert(mode).save(buffer, kind)
        yield buffer.getvalue()
