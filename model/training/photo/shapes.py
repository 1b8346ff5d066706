"""Random edits of a picture's shape: cropped, turned, mirrored, squeezed, slanted, in waves."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from model.training.photo.chance import Random, RandomEdit, sign
from model.training.photo_evaluation.easy_edits import colour, scaled

_SIDE_PX_MIN = 16


def _crop(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    area, aspect = math.exp(random.uniform(math.log(0.1), math.log(0.9))), math.exp(random.uniform(-0.3, 0.3))
    width = min(picture.width, max(_SIDE_PX_MIN, round(picture.width * math.sqrt(area * aspect))))
    height = min(picture.height, max(_SIDE_PX_MIN, round(picture.height * math.sqrt(area / aspect))))
    left, top = int(random.integers(picture.width - width + 1)), int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _turn(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    angle = float(random.uniform(4, 60) * sign(random))
    turned = picture.rotate(angle, Image.Resampling.BILINEAR, expand=True, fillcolor=colour(random))
    if random.random() < 0.5:
        return turned
    inner = random.uniform(0.55, 0.85)
    width, height = turned.width * inner, turned.height * inner
    left, top = (turned.width - width) / 2, (turned.height - height) / 2
    return turned.crop((round(left), round(top), round(left + width), round(top + height)))


def _quarter_turn(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    turns = (
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_180,
        Image.Transpose.ROTATE_270,
        Image.Transpose.FLIP_TOP_BOTTOM,
    )
    return picture.transpose(turns[int(random.integers(len(turns)))])


def _mirror(picture: Image.Image, _: Random, __: Sequence[Image.Image]) -> Image.Image:
    return ImageOps.mirror(picture)


def _squeeze(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    by = math.exp(random.uniform(0.1, 0.4) * sign(random))
    return scaled(picture, picture.width * by, picture.height / by, Image.Resampling.BILINEAR)


def _perspective(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    width, height = picture.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    inwards = np.where(corners == 0, 1, -1) * random.uniform(0, random.uniform(0.05, 0.25), (4, 2)) * (width, height)
    moved = corners + inwards
    rows = []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    coefficients = np.linalg.solve(np.array(rows), corners.ravel())
    method, fill = Image.Transform.PERSPECTIVE, colour(random)
    return picture.transform(picture.size, method, coefficients.tolist(), Image.Resampling.BILINEAR, fillcolor=fill)


def _waves(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    y, x = np.mgrid[: picture.height, : picture.width]
    amplitude, length = random.uniform(1, 0.03 * max(picture.size) + 1), random.uniform(0.1, 0.6) * max(picture.size)
    rows = np.clip(y + amplitude * np.sin(2 * np.pi * x / length), 0, picture.height - 1).astype(int)
    columns = np.clip(x + amplitude * np.cos(2 * np.pi * y / length), 0, picture.width - 1).astype(int)
    return Image.fromarray(np.asarray(picture)[rows, columns])


SHAPES: tuple[RandomEdit, ...] = (
    _crop,
    _crop,
    _crop,
    _turn,
    _turn,
    _quarter_turn,
    _mirror,
    _squeeze,
    _perspective,
    _waves,
)
