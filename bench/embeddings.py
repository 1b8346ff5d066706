"""Embeddings to measure with: MNIST digits and deformed copies of them, all through the committed encoder."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import mnist
from model.encoder import Encoder
from runtime.progress import progress_line

TURN_DEGREES, ZOOM, SHEAR, SHIFT_PX = 15.0, 0.15, 0.15, 2.0


def gallery(encoder: Encoder, n: int, folder: Path) -> NDArray[np.float32]:
    """(n, 128) float32: the 60,000 training digits, and from there on deformed copies of them.

    Every image goes through the encoder (a million take a minute or two), once: what comes out is kept in `folder`.
    """
    train = mnist.images("train")

    def image(number: int) -> NDArray[np.uint8]:
        digit = train[number % len(train)]
        return digit if number < len(train) else deformed(digit, np.random.default_rng(number))

    return _cached(folder / f"gallery-{encoder.fingerprint}-{n}.npy", encoder, image, n)


def queries(encoder: Encoder, n: int, folder: Path) -> NDArray[np.float32]:
    """(n, 128) float32: the first n of the 10,000 test digits, which are not in any gallery."""
    test = mnist.images("test")
    return _cached(folder / f"queries-{encoder.fingerprint}-{n}.npy", encoder, test.__getitem__, n)


def deformed(digit: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """`digit` (28, 28) uint8 turned, zoomed, sheared and moved at random, as another hand might write it."""
    turn = np.deg2rad(random.uniform(-TURN_DEGREES, TURN_DEGREES))
    cos, sin = np.cos(turn), np.sin(turn)
    shear = np.array([[1.0, random.uniform(-SHEAR, SHEAR)], [0.0, 1.0]])
    matrix = np.array([[cos, -sin], [sin, cos]]) @ shear / random.uniform(1 - ZOOM, 1 + ZOOM, 2)
    centre = np.full(2, 13.5)
    offset = centre - matrix @ (centre + random.uniform(-SHIFT_PX, SHIFT_PX, 2))
    affine = (*matrix[0], offset[0], *matrix[1], offset[1])
    moved = Image.fromarray(digit).transform((28, 28), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
    return np.asarray(moved)


def _cached(path: Path, encoder: Encoder, image: Callable[[int], NDArray[np.uint8]], n: int) -> NDArray[np.float32]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        embeddings = np.empty((n, 128), np.float32)
        with progress_line("embedding", n, "images") as bar:
            for number in range(n):
                embeddings[number] = encoder.embed(image(number)[..., None].astype(np.float32) / np.float32(255))
                bar.update(1)
        unfinished = path.with_suffix(".tmp.npy")
        np.save(unfinished, embeddings, allow_pickle=False)
        unfinished.rename(path)
    kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return kept
