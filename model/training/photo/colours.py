"""Random edits of a picture's colours: light, hue, cast, grey, few tones, outlines."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from model.training.photo.chance import Random, RandomEdit, sign
from model.training.photo_evaluation.easy_edits import colour


def _light(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[int(random.integers(3))]
    return enhance(picture).enhance(float(random.choice([random.uniform(0.2, 0.8), random.uniform(1.25, 2.6)])))


def _gamma(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    power = math.exp(random.uniform(0.25, 1.0) * sign(random))
    return picture.point([round(255 * (value / 255) ** power) for value in range(256)] * 3)


def _hue(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    shift = int(random.integers(15, 241))
    hue, saturation, brightness = picture.convert("HSV").split()
    return Image.merge("HSV", (hue.point(lambda value: (value + shift) % 256), saturation, brightness)).convert("RGB")


def _cast(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    gains = random.uniform(0.6, 1.35, 3)
    return picture.point([min(255, round(value * gain)) for gain in gains for value in range(256)])


def _grey(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    grey = ImageOps.grayscale(picture)
    if random.random() < 0.6:
        return grey
    return ImageOps.colorize(
        grey, tuple(c // 3 for c in colour(random)), tuple(155 + c * 100 // 255 for c in colour(random))
    )


def _channels(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    bands = picture.split()
    return Image.merge("RGB", [bands[place] for place in random.permutation(3)])


def _negative(picture: Image.Image, _: Random, __: Sequence[Image.Image]) -> Image.Image:
    return ImageOps.invert(picture)


def _few_tones(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    way = int(random.integers(5))
    if way == 0:
        return ImageOps.posterize(picture, int(random.integers(1, 4)))
    if way == 1:
        return ImageOps.solarize(picture, int(random.integers(60, 200)))
    if way == 2:
        return ImageOps.equalize(picture)
    if way == 3:
        return picture.quantize(int(random.integers(4, 24))).convert("RGB")
    threshold = float(np.median(np.asarray(picture.convert("L")))) + random.uniform(-20, 20)
    return picture.convert("L").point(lambda value: 255 if value > threshold else 0)


def _outline(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    if random.random() < 0.6:
        picture = picture.convert("L")
    way = int(random.integers(5))
    if way < 2:
        edges = picture.filter(ImageFilter.FIND_EDGES)
        return ImageOps.invert(edges) if way else edges
    kinds = (ImageFilter.CONTOUR, ImageFilter.EMBOSS, ImageFilter.EDGE_ENHANCE_MORE)
    return picture.filter(kinds[way - 2])


COLOURS: tuple[RandomEdit, ...] = (
    _light,
    _light,
    _gamma,
    _hue,
    _cast,
    _grey,
    _channels,
    _negative,
    _few_tones,
    _outline,
    _outline,
)
