"""The MNIST digits as arrays, read from the four committed files."""

import gzip
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError

FOLDER = Path(__file__).with_name("data") / "mnist"
Split = Literal["train", "test"]
_FILE_PREFIX = {"train": "train", "test": "t10k"}


@cache
def images(split: Split) -> NDArray[np.uint8]:
    """Images (60000 or 10000, 28, 28) uint8, white digits on black, read-only."""
    return _read(f"{_FILE_PREFIX[split]}-images-idx3-ubyte.gz", header_size_bytes=16).reshape(-1, 28, 28)


@cache
def labels(split: Split) -> NDArray[np.uint8]:
    """Labels (60000 or 10000,) uint8, 0 to 9, read-only."""
    return _read(f"{_FILE_PREFIX[split]}-labels-idx1-ubyte.gz", header_size_bytes=8)


def pixels(split: Split) -> NDArray[np.float32]:
    """Images as an encoder takes them: (60000 or 10000, 28, 28, 1) float32 in [0, 1]."""
    return images(split)[..., None].astype(np.float32) / np.float32(255)


def png(image: NDArray[np.uint8]) -> bytes:
    """One image (28, 28) uint8 as a greyscale PNG; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _read(name: str, header_size_bytes: int) -> NDArray[np.uint8]:
    packed = (FOLDER / name).read_bytes()
    sums = dict(line.split()[::-1] for line in (FOLDER / "SHA256SUMS").read_text().splitlines())
    found = hashlib.sha256(packed).hexdigest()
    if found != sums[name]:
        raise ConfigurationError(
            f"{FOLDER / name} has SHA-256 {found}, expected {sums[name]}. Check the file out again."
        )
    return np.frombuffer(gzip.decompress(packed), np.uint8, offset=header_size_bytes)
