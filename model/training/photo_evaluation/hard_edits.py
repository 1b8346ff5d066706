"""Fifteen ways that leave little of a photo, or put it among other things: memes, collages, screens, photos of screens."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from model.training.photo_evaluation.easy_edits import (
    BICUBIC,
    EASY,
    Alter,
    as_jpeg,
    cropped,
    from_pixels,
    pasted,
    scaled,
    with_longer_side,
)

GROUND_SIDE_PX = 500
TILE_SIZE_PX = (240, 200)
SCREEN_SIZE_PX = (540, 1140)
SCREEN_PHOTO_HEIGHT_PX = 700
SQUEEZE = 1.35  # each way: the aspect changes 1.8 times
CHAINED = 4
_LETTERS = "loremipsumdolor"


def _paste(share: float) -> Alter:
    def alter(photo: Image.Image, others: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
        return pasted(
            with_longer_side(photo, share * GROUND_SIDE_PX), with_longer_side(others[0], GROUND_SIDE_PX), random
        )

    return alter


def _collage(photo: Image.Image, others: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """Two by two photos, each cut to the same shape, in any order."""
    photos = [photo, *others[:3]]
    width, height = TILE_SIZE_PX
    sheet = Image.new("RGB", (2 * width, 2 * height))
    for place, which in enumerate(random.permutation(4).tolist()):
        sheet.paste(ImageOps.fit(photos[which], TILE_SIZE_PX), (width * (place % 2), height * (place // 2)))
    return sheet


def _screen(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """A telephone's screen with the photo as wide as it, text above and below."""
    width, height = SCREEN_SIZE_PX
    ground, ink = random.permutation([[18, 230], [250, 20]])[0].tolist()
    sheet = Image.new("RGB", SCREEN_SIZE_PX, (ground,) * 3)
    shown = max(1, min(photo.height, SCREEN_PHOTO_HEIGHT_PX * photo.width // width))
    photo = photo.crop((0, 0, photo.width, shown))
    photo = scaled(photo, width, min(SCREEN_PHOTO_HEIGHT_PX, width * photo.height / photo.width))
    top = int(random.integers(150, height - photo.height - 100))
    sheet.paste(photo, (0, top))
    draw = ImageDraw.Draw(sheet)
    _write_lines(draw, 20, top, 3, ink, 22, random)
    _write_lines(draw, top + photo.height + 10, height - 20, 4, ink, 24, random)
    return sheet


def _write_lines(
    draw: ImageDraw.ImageDraw, top: int, bottom: int, count: int, ink: int, size_px: int, random: np.random.Generator
) -> None:
    for line in range(count):
        words = " ".join(_LETTERS[: int(random.integers(2, 12))] for _ in range(7))
        draw.text((8, top + line * (bottom - top) // count), words, fill=(ink,) * 3, font_size=size_px)


def _meme(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """Cut a little, below a white band with two lines, more text over its foot."""
    photo = cropped(photo, 0.9, random)
    band = photo.height // 3
    size = max(14, band // 3)
    sheet = Image.new("RGB", (photo.width, photo.height + band), "white")
    sheet.paste(photo, (0, band))
    draw = ImageDraw.Draw(sheet)
    draw.text((6, 4), "WHEN YOU FINALLY", fill="black", font_size=size)
    draw.text((6, 8 + size), f"FIND THE SOURCE {random.integers(100)}", fill="black", font_size=size)
    below = (photo.width // 8, sheet.height - 2 * size)
    draw.text(below, "BOTTOM TEXT", fill="white", stroke_fill="black", stroke_width=2, font_size=size)
    return as_jpeg(sheet, 60)


def _slanted(photo: Image.Image, share: float, random: np.random.Generator) -> Image.Image:
    """Each corner moved inwards by up to that share of the sides."""
    width, height = photo.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    inwards = np.where(corners == 0, 1, -1) * (width, height)
    moved = corners + inwards * random.uniform(0, share, (4, 2))
    return photo.transform(
        photo.size, Image.Transform.PERSPECTIVE, _perspective(moved, corners), BICUBIC, fillcolor=(90, 90, 90)
    )


def _perspective(source: np.ndarray, target: np.ndarray) -> list[float]:
    """The eight numbers of the projective map that takes four points (4, 2) to four others."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    solved: list[float] = np.linalg.solve(np.array(rows), target.reshape(8)).tolist()
    return solved


def _screenphoto(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """A screen photographed by a telephone: stripes, a colour cast, noise, blur, seen from aside."""
    pixels = np.asarray(with_longer_side(photo, 640), np.float32)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    stripes = 1 + 0.12 * np.sin(1.9 * x + 0.3 * y)
    seen = pixels * stripes[..., None] * (1.08, 1, 0.86) + random.normal(0, 9, pixels.shape)
    return _slanted(from_pixels(seen).filter(ImageFilter.GaussianBlur(1.2)), 0.1, random)


def _turned(photo: Image.Image, _: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """By 30 to 60 degrees either way, and of that the inner 62 %."""
    angle = float(random.choice([-1, 1]) * random.uniform(30, 60))
    turned = photo.rotate(angle, BICUBIC, expand=True)
    width, height = (max(1, int(0.62 * side)) for side in turned.size)
    left, top = (turned.width - width) // 2, (turned.height - height) // 2
    return turned.crop((left, top, left + width, top + height))


def _edges(photo: Image.Image, _: Sequence[Image.Image], __: np.random.Generator) -> Image.Image:
    return photo.convert("L").filter(ImageFilter.FIND_EDGES).convert("RGB")


def _chain(photo: Image.Image, others: Sequence[Image.Image], random: np.random.Generator) -> Image.Image:
    """Four of the easy edits, whichever, one after another; the result keeps a size at which that makes sense."""
    names = [name for name in EASY if name != "shot"]
    for which in random.permutation(len(names))[:CHAINED].tolist():
        photo = EASY[names[which]](photo, others, random)
        photo = with_longer_side(photo, min(900, max(200, *photo.size)))
    return photo


HARD: dict[str, Alter] = {
    "crop15": lambda photo, _, random: cropped(photo, 0.15, random),
    "paste30": _paste(0.3),
    "paste45": _paste(0.45),
    "collage": _collage,
    "screen": _screen,
    "meme": _meme,
    "persp20": lambda photo, _, random: _slanted(photo, 0.2, random),
    "squeeze": lambda photo, _, __: scaled(photo, photo.width * SQUEEZE, photo.height / SQUEEZE),
    "pixel24": lambda photo, _, __: with_longer_side(with_longer_side(photo, 24), 400),
    "rot45": _turned,
    "negative": lambda photo, _, __: ImageOps.invert(photo),
    "screenphoto": _screenphoto,
    "poster": lambda photo, _, __: ImageOps.posterize(photo, 2),
    "edges": _edges,
    "chain4": _chain,
}
