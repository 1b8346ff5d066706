"""Random edits that cost a picture quality: poor files, blur, noise, small sizes, a screen's stripes, shadows."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from model.training.photo.chance import Random, RandomEdit
from model.training.photo_evaluation.easy_edits import scaled


def _jpeg(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if random.random() < 0.7 else "WEBP", quality=int(random.integers(3, 50)))
    return Image.open(buffer).convert("RGB")


def _blur(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    radius, way = max(picture.size) * random.uniform(0.004, 0.025), int(random.integers(4))
    if way == 0:
        return picture.filter(ImageFilter.BoxBlur(radius * 1.5))
    if way == 1:
        return picture.filter(ImageFilter.MedianFilter(2 * min(4, math.ceil(radius / 2)) + 1))
    if way == 2:  # by a moving camera
        shift = max(1, round(radius))
        moved = [
            ImageChops.offset(picture, round(shift * step), round(shift * step * random.uniform(-1, 1)))
            for step in (-1, 1)
        ]
        return Image.blend(Image.blend(moved[0], moved[1], 0.5), picture, 0.34)
    return picture.filter(ImageFilter.GaussianBlur(radius))


def _noise(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    pixels: NDArray[Any] = np.asarray(picture, np.float32)
    strength, way = random.uniform(8, 60), int(random.integers(3))
    if way == 0:
        pixels = pixels + random.normal(0, strength, pixels.shape)
    elif way == 1:
        pixels = pixels * random.normal(1, strength / 100, pixels.shape)
    else:
        hit = random.random(pixels.shape[:2]) < strength / 400
        pixels = np.where(hit[..., None], 255.0 * (random.random(pixels.shape[:2])[..., None] < 0.5), pixels)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _small(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    scale = min(1.0, math.exp(random.uniform(math.log(18), math.log(90))) / max(picture.size))
    small = scaled(picture, picture.width * scale, picture.height * scale, Image.Resampling.BICUBIC)
    back = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[int(random.integers(3))]
    return scaled(small, picture.width, picture.height, back)


def _screen_stripes(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    y, x = np.mgrid[: picture.height, : picture.width]
    wave = np.sin(x * random.uniform(0.2, 2.5) + y * random.uniform(0.0, 2.5) + random.uniform(0, 6))
    pixels = (
        np.asarray(picture, np.float32)
        * (1 + random.uniform(0.05, 0.25) * wave)[..., None]
        * random.uniform(0.8, 1.15, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shadow(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    if random.random() < 0.5:  # a vignette or a lamp
        light = 1 - random.uniform(0.2, 0.6) * (
            (x - random.uniform(-0.5, 0.5)) ** 2 + (y - random.uniform(-0.5, 0.5)) ** 2
        )
    else:
        light = 1 + random.uniform(-0.6, 0.6) * x + random.uniform(-0.6, 0.6) * y
    return Image.fromarray(np.clip(np.asarray(picture, np.float32) * light[..., None], 0, 255).astype(np.uint8))


POOR_QUALITIES: tuple[RandomEdit, ...] = (_jpeg, _blur, _noise, _small, _small, _screen_stripes, _shadow)
