"""Altered copies of a photograph by one edit of a known, random amount; names and amounts are those of a verdict's edits."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from model.training.photo_evaluation.easy_edits import BICUBIC, as_jpeg, colour, from_pixels, scaled
from model.training.single_edits import Edited

MakeCopy = Callable[[Image.Image, Image.Image, np.random.Generator], Edited]
TOLERANCE = 0.2
# Named, they have no amount that could be wrong.
WITHOUT_AMOUNT = ("mirrored", "grey", "inversion")
# Where a picture is pasted, a collage is as right, and the other way round.
SAME = {"pasted": ("pasted", "collage"), "collage": ("pasted", "collage")}


def is_right(wanted: Edited, told: Mapping[str, float]) -> bool:
    """Whether edits by name have the one that was made, with an amount within 20 % of the true one."""
    for name in SAME.get(wanted.name, (wanted.name,)):
        if name not in told:
            continue
        if name in WITHOUT_AMOUNT or abs(told[name] - wanted.amount) <= TOLERANCE * abs(wanted.amount):
            return True
    return False


def _crop(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    """5 to 50 % of width and height, each, anywhere."""
    kept = [max(24, round(side * (1 - random.uniform(0.05, 0.5)))) for side in photo.size]
    left, top = (int(random.integers(0, side - keep + 1)) for side, keep in zip(photo.size, kept, strict=True))
    share = 1 - (kept[0] / photo.width + kept[1] / photo.height) / 2
    return Edited(photo.crop((left, top, left + kept[0], top + kept[1])), "crop", share)


def _mirrored(photo: Image.Image, _: Image.Image, __: np.random.Generator) -> Edited:
    return Edited(ImageOps.mirror(photo), "mirrored", 1.0)


def _rotation(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    """Any angle but the smallest: in a larger frame, in the same frame, or only the inner part."""
    angle = float(random.uniform(5, 180) * random.choice([-1, 1]))
    way = int(random.integers(3))
    turned = photo.rotate(angle, BICUBIC, expand=way != 1, fillcolor=colour(random))
    if way == 2:
        inner = 0.62 * min(photo.size) / max(photo.size)
        x, y = (side * (1 - inner) / 2 for side in turned.size)
        turned = turned.crop((round(x), round(y), round(turned.width - x), round(turned.height - y)))
    return Edited(turned, "rotation", angle)


def _quarter(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    turns = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, -90: Image.Transpose.ROTATE_270}
    angle = int(random.choice(list(turns)))
    return Edited(photo.transpose(turns[angle]), "rotation", float(angle))


def _scale(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    """To .25 to .8 or 1.25 to 3 of the size."""
    scale = math.exp(
        random.uniform(math.log(0.25), math.log(0.8)) if random.random() < 0.6 else random.uniform(0.22, 1.1)
    )
    return Edited(scaled(photo, photo.width * scale, photo.height * scale), "scale", scale)


def _border(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    width = max(2, round(random.uniform(0.03, 0.25) * max(photo.size)))
    framed = ImageOps.expand(photo, width, fill=colour(random))
    return Edited(framed, "border", (2 * width / framed.width + 2 * width / framed.height) / 2)


def _text(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    """One to three lines."""
    mask = Image.new("L", photo.size)
    draw = ImageDraw.Draw(mask)
    for _line in range(int(random.integers(1, 4))):
        size = max(14, round(photo.height * random.uniform(0.08, 0.2)))
        place = (random.uniform(0, 0.4) * photo.width, random.uniform(0, 0.85) * photo.height)
        draw.text(place, f"SAMPLE {random.integers(10**5)}", fill=255, font_size=size)
    return _laid_over(photo, mask, colour(random), random)


def _logo(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    """A disc or a box in a corner, with a letter in it."""
    side = round(random.uniform(0.15, 0.35) * min(photo.size))
    left, top = (int(random.choice([4, side_of - side - 4])) for side_of in photo.size)
    mask = Image.new("L", photo.size)
    draw = ImageDraw.Draw(mask)
    (draw.ellipse if random.random() < 0.5 else draw.rectangle)((left, top, left + side, top + side), fill=255)
    told = _laid_over(photo, mask, colour(random), random)
    ImageDraw.Draw(told.image).text((left + side / 3, top + side / 5), "L", fill=colour(random), font_size=0.6 * side)
    return told


def _laid_over(photo: Image.Image, mask: Image.Image, ink: tuple[int, int, int], random: np.random.Generator) -> Edited:
    """An ink that can be told from what is beneath, through a mask."""
    beneath = np.asarray(photo, float)[np.asarray(mask) > 0].mean(0) if np.asarray(mask).any() else np.zeros(3)
    while np.abs(beneath - ink).max() < 80:
        ink = colour(random)
    made = photo.copy()
    made.paste(Image.new("RGB", photo.size, ink), (0, 0), mask)
    return Edited(made, "overlay", float(np.asarray(mask, float).mean() / 255))


def _pasted(photo: Image.Image, other: Image.Image, random: np.random.Generator) -> Edited:
    """At 35 to 75 % of the sides of another photo, somewhere."""
    ground = other.resize(photo.size, BICUBIC)
    share = random.uniform(0.35, 0.75)
    small = scaled(photo, photo.width * share, photo.height * share)
    left, top = (int(random.integers(2, room - 1)) for room in np.subtract(ground.size, small.size))
    ground.paste(small, (left, top))
    return Edited(ground, "pasted", small.width * small.height / (ground.width * ground.height))


def _collage(photo: Image.Image, other: Image.Image, random: np.random.Generator) -> Edited:
    """Two beside each other, or two by two, each cut to the same shape."""
    columns, rows = (2, 2) if random.random() < 0.5 else (2, 1)
    size = (240, 200)
    sheet = Image.new("RGB", (columns * size[0], rows * size[1]))
    at = int(random.integers(columns * rows))
    for place in range(columns * rows):
        shown = photo if place == at else ImageOps.mirror(other) if place % 2 else other
        sheet.paste(ImageOps.fit(shown, size), (size[0] * (place % columns), size[1] * (place // columns)))
    return Edited(sheet, "collage", 1 / (columns * rows))


def _grey(photo: Image.Image, _: Image.Image, __: np.random.Generator) -> Edited:
    return Edited(ImageOps.grayscale(photo).convert("RGB"), "grey", 1.0)


def _enhanced(name: str, enhance: type) -> MakeCopy:
    def alter(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
        factor = float(random.uniform(0.4, 0.8) if random.random() < 0.5 else random.uniform(1.25, 1.8))
        return Edited(enhance(photo).enhance(factor), name, factor)

    return alter


def _inversion(photo: Image.Image, _: Image.Image, __: np.random.Generator) -> Edited:
    return Edited(ImageOps.invert(photo), "inversion", 1.0)


def _blur(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    deviation = max(photo.size) * float(random.uniform(0.006, 0.014))
    return Edited(photo.filter(ImageFilter.GaussianBlur(deviation)), "blur", deviation)


def _noise(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    deviation = float(random.uniform(0.04, 0.14))
    pixels = np.asarray(photo, np.float32)
    noisy = from_pixels(pixels + 255 * deviation * random.standard_normal(pixels.shape, np.float32))
    return Edited(noisy, "noise", deviation)


def _jpeg(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Edited:
    quality = int(random.integers(8, 55))
    return Edited(as_jpeg(photo, quality), "jpeg", float(quality))


KNOWN_EDITS: dict[str, MakeCopy] = {
    "crop": _crop,
    "mirrored": _mirrored,
    "turned": _rotation,
    "turned by quarters": _quarter,
    "resized": _scale,
    "border": _border,
    "text": _text,
    "logo": _logo,
    "pasted": _pasted,
    "collage": _collage,
    "grey": _grey,
    "brightness": _enhanced("brightness", ImageEnhance.Brightness),
    "contrast": _enhanced("contrast", ImageEnhance.Contrast),
    "colour": _enhanced("colour", ImageEnhance.Color),
    "negative": _inversion,
    "blur": _blur,
    "noise": _noise,
    "jpeg": _jpeg,
}
