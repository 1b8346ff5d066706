"""The decoder: whatever the bytes, either a reason or a sound picture of the size that the file states."""

import hashlib
import io
import struct

import numpy as np
from PIL import Image

from contract.errors import RejectedError
from contract.messages import check_value
from model.pictures.images import PLUGINS, THUMBNAIL_SIDE_PX, decode
from tests.unit.test_images import FILES, encoded, picture

SIZE_BYTES_MAX = 65_536
# Larger ones take seconds each, in which a thousand small ones could be tried.
PIXELS_MAX = 300_000
REASONS = {"empty", "too-large", "unsupported-type", "too-many-pixels", "too-many-scans", "truncated", "corrupt"}


def corpus() -> list[bytes]:
    """A small picture in each format and mode."""
    modes = [encoded(picture(9, 7).convert(mode), "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *FILES.values(),
        *modes,
        encoded(picture(9, 7), "JPEG", exif=exif.tobytes()),
        encoded(picture(9, 7).convert("CMYK"), "JPEG"),
        encoded(picture(9, 7), "TIFF", compression="tiff_lzw"),
        encoded(picture(9, 7).convert("P"), "PNG", transparency=0),
        encoded(picture(9, 7).convert("RGBA"), "WEBP", exif=exif.tobytes()),
    ]


def attempt(value: bytes) -> None:
    """Decode it with and without taking what lacks its end."""
    for accept_truncated in (False, True):
        _check(value, accept_truncated)


def _check(value: bytes, accept_truncated: bool) -> None:
    try:
        found = decode(value, accept_truncated=accept_truncated, when_measured=_small)
    except RejectedError as error:
        assert error.reason in REASONS and error.detail, error
        return
    assert found.media_type == check_value(value)
    assert found.image.mode in ("L", "RGB", "RGBA"), found.image.mode
    assert found.image.size == (found.width, found.height) and min(found.image.size) >= 1
    # Pillow does not even open some JPEGs that lack their end.
    whole = value + b"\xff\xd9" if found.is_truncated else value
    with Image.open(io.BytesIO(whole), formats=(PLUGINS[found.media_type],)) as stated:
        assert sorted(stated.size) == sorted(found.image.size), (stated.size, found.image.size)
    pixels = np.asarray(found.image.convert("RGBA")).tobytes()
    assert found.pixels_sha256 == hashlib.sha256(struct.pack("<II", *found.image.size) + pixels).digest()
    assert accept_truncated or not found.is_truncated
    with Image.open(io.BytesIO(found.thumbnail), formats=("PNG", "WEBP")) as thumbnail:
        thumbnail.load()
        assert 1 <= min(thumbnail.size) <= max(thumbnail.size) <= THUMBNAIL_SIDE_PX


def _small(pixels: int) -> None:
    if pixels > PIXELS_MAX:
        raise RejectedError("too-many-pixels", "It takes longer than is worth it here.")
