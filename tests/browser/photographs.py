"""Photographs that packages bring under free licences, cut to many shapes, and queries made of them.

scikit-learn is there anyway; scikit-image, for the README's pictures alone, is installed without what it needs to run: its files are read.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw, ImageEnhance, ImageFont

Box = tuple[float, float, float, float]

# With author and licence in docs/pictures/README.md.
PHOTOGRAPHS = {
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
    "skimage": tuple(
        f"data/{name}"
        for name in (
            "astronaut.png",
            "camera.png",
            "chelsea.png",
            "coffee.png",
            "rocket.jpg",
            "hubble_deep_field.jpg",
        )
    ),
}
# Left, top, right and bottom as shares of the sides: parts that share little.
_PARTS: dict[str, Box] = {"wide": (0, 0.55, 1, 0.95), "tall": (0.05, 0.02, 0.4, 0.98), "detail": (0.5, 0.1, 0.95, 0.5)}
_TILE = (480, 360)
# What `altered` leaves of a photograph.
KEPT: Box = (0.12, 0.06, 0.9, 0.92)


def photographs(*packages: str) -> dict[str, Image.Image]:
    """The photographs of these packages by name, such as `china`.

    Raises:
        FileNotFoundError: a package is not installed.
    """
    found = {}
    for package in packages:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"The photographs of {package} are needed; `make pictures` installs them.")
        for name in PHOTOGRAPHS[package]:
            with Image.open(Path(spec.origin).parent / name) as image:
                found[Path(name).stem] = image.convert("RGB")
    return found


def album(whole: dict[str, Image.Image]) -> Iterator[tuple[str, Image.Image]]:
    """Each photograph and three parts of it, of other shapes, with ids as a folder's files have them."""
    for name, image in whole.items():
        yield f"album/{name}.jpg", image
        for part, box in _PARTS.items():
            yield f"album/parts/{name}, {part}.jpg", cut(image, box)


def cut(image: Image.Image, box: Box) -> Image.Image:
    """A part of it; `box` counts in shares of the sides."""
    left, top, right, bottom = box
    return image.crop(
        (int(left * image.width), int(top * image.height), int(right * image.width), int(bottom * image.height))
    )


def altered(image: Image.Image) -> Image.Image:
    """As people pass pictures on: cropped, brighter, with words on it."""
    part = ImageEnhance.Brightness(cut(image, KEPT)).enhance(1.15)
    size = part.width // 9
    ImageDraw.Draw(part).text(
        (part.width / 2, part.height - size * 0.4),
        "LOOK AT THIS",
        font=ImageFont.load_default(size),
        fill="white",
        stroke_width=max(1, size // 12),
        stroke_fill="black",
        anchor="ms",
    )
    return part


def tilted(image: Image.Image) -> Image.Image:
    """As seen at an angle: its parts are enlarged unequally."""
    seen = (1.0, 0.08, 0.0, 0.02, 1.05, 0.0, 0.0001, 0.00025)
    return image.transform(image.size, Image.Transform.PERSPECTIVE, seen, Image.Resampling.BICUBIC)


def collage(*images: Image.Image) -> Image.Image:
    """Four photographs side by side, two by two, each cut to the same shape."""
    width, height = _TILE
    whole = Image.new("RGB", (2 * width, 2 * height))
    for number, image in enumerate(images):
        scale = max(width / image.width, height / image.height)
        tile = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        left, top = (tile.width - width) // 2, (tile.height - height) // 2
        whole.paste(tile.crop((left, top, left + width, top + height)), (number % 2 * width, number // 2 * height))
    return whole


def jpeg(image: Image.Image) -> bytes:
    """As JPEG of a good quality."""
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()
