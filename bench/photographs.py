"""Photographs to measure with: files of a folder, or any number of altered parts of the two that scikit-learn brings."""

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_images

from contract.errors import RejectedError
from model.training.photo_evaluation.easy_edits import EASY, cropped, from_pixels, with_longer_side
from model.training.photo_evaluation.photos import photos_in, read, to_alter

SIDE_PX = 500
AREA_MIN, AREA_MAX = 0.04, 0.5
# Each changes a photo for encoders too, so that no two of the gallery are alike.
_CHANGES = ("flip", "hue", "bright", "rot15", "rot90", "grey")


def gallery_photographs(count: int, folder: Path | None) -> Iterator[bytes]:
    """Encoded images: the photographs of the folder as they are, and from there on altered parts of them, JPEG of up to 500 pixels."""
    files = photos_in(folder) if folder else []
    taken, samples = 0, two_photographs()
    for photo in files:
        if taken == count:
            return
        try:
            picture = read(photo)
        except RejectedError:
            continue
        yield photo.path.read_bytes()
        taken += 1
        if len(samples) < 100:
            samples.append(to_alter(picture))
    for number in range(taken, count):
        random = np.random.default_rng(number)
        part = cropped(samples[number % len(samples)], random.uniform(AREA_MIN, AREA_MAX), random)
        for change in random.permutation(_CHANGES)[:2]:
            part = EASY[change](part, [], random)
        yield as_jpeg(with_longer_side(part, SIDE_PX))


def photographs_of(size_px: tuple[int, int], count: int, folder: Path | None = None) -> list[bytes]:
    """JPEGs of that width and height: photographs of the folder, cut to fit, or parts of the two, enlarged, with a sensor's noise."""
    pictures = islice(_pictures_in(folder), count) if folder else []
    made = [as_jpeg(ImageOps.fit(picture, size_px)) for picture in pictures]
    samples = two_photographs()
    for number in range(len(made), count):
        random = np.random.default_rng(number)
        part = cropped(samples[number % len(samples)], 0.6, random).resize(size_px, Image.Resampling.BICUBIC)
        noise = random.standard_normal((size_px[1], size_px[0], 1), np.float32)
        made.append(as_jpeg(from_pixels(np.asarray(part, np.float32) + 3 * noise)))
    return made


def _pictures_in(folder: Path) -> Iterator[Image.Image]:
    for photo in photos_in(folder):
        with suppress(RejectedError):
            yield to_alter(read(photo))


def as_jpeg(photo: Image.Image) -> bytes:
    """The photo as cameras save it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def two_photographs() -> list[Image.Image]:
    """Those that scikit-learn brings."""
    return [Image.fromarray(pixels) for pixels in load_sample_images().images]
