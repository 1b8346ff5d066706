"""Image bytes to a picture: the one function through which images are indexed and queried. Runs in the decoder child only."""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from contract.errors import RejectedError
from contract.messages import IMAGE_PIXELS_MAX, check_value

# More scans than any camera or encoder writes; each costs a pass over all pixels (308 kB once took 86 s).
JPEG_SCANS_MAX = 64
TEXT_SIZE_BYTES_MAX = 1024 * 1024
THUMBNAIL_SIDE_PX = 96
PLUGINS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}


@dataclass(frozen=True)
class Picture:
    """What the bytes show, whatever the encoder.

    Attributes:
        width, height: pixels, after EXIF orientation.
        pixels_sha256: over size and RGBA pixels after orientation: equal for the same picture in another file format.
        thumbnail: PNG or WebP, longer side at most 96 pixels.
        image: oriented; mode L, RGB or RGBA.
    """

    media_type: str
    width: int
    height: int
    pixels_sha256: bytes
    thumbnail: bytes
    image: Image.Image


def decode(value: bytes) -> Picture:
    """Decode an image completely.

    Raises:
        RejectedError: ``empty``, ``too-large``, ``unsupported-type``, ``too-many-pixels``, ``too-many-scans``,
            ``truncated``, ``decoder-memory`` or ``corrupt``; the same bytes always give the same reason.
    """
    media_type = check_value(value)
    if media_type == "image/jpeg":
        _check_scans(value)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK = TEXT_SIZE_BYTES_MAX
    Image.MAX_IMAGE_PIXELS = None  # our own limit is an error, not a warning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(io.BytesIO(value), formats=(PLUGINS[media_type],))
            if image.width * image.height > IMAGE_PIXELS_MAX:
                raise RejectedError(
                    "too-many-pixels",
                    f"The image has {image.width} x {image.height} pixels, at most {IMAGE_PIXELS_MAX} in all.",
                )
            image.load()
            image = _plain(ImageOps.exif_transpose(image))
            return _picture(media_type, image, value)
        except RejectedError:
            raise
        except MemoryError as error:
            raise RejectedError("decoder-memory", "Decoding took more memory than an image may.") from error
        except Exception as error:  # Pillow raises nearly anything on hostile bytes; all of it is the image's fault
            is_truncated = _is_cut_short(media_type, value)
            reason = "truncated" if is_truncated else "corrupt"
            raise RejectedError(reason, f"The {media_type} image cannot be decoded: {error}.") from error


def _picture(media_type: str, image: Image.Image, value: bytes) -> Picture:
    rgba = image.convert("RGBA")
    digest = hashlib.sha256(struct.pack("<II", *image.size))
    digest.update(rgba.tobytes())
    return Picture(media_type, *image.size, digest.digest(), _thumbnail(media_type, image, value), image)


def _plain(image: Image.Image) -> Image.Image:
    """8 bits a channel, grey or colour, with alpha where there is transparency."""
    if image.mode in ("L", "RGB", "RGBA"):
        if "transparency" in image.info:
            return image.convert("RGBA")
        return image
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        wide = np.asarray(image, dtype=np.int64)
        return Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _thumbnail(media_type: str, image: Image.Image, value: bytes) -> bytes:
    is_small = max(image.size) <= THUMBNAIL_SIDE_PX
    if is_small and media_type == "image/png" and len(value) <= 1024 and not image.info:
        return value  # a digit's own file is its best thumbnail
    small = image if is_small else image.copy()
    small.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX), Image.Resampling.BICUBIC)
    clean = Image.frombytes(small.mode, small.size, small.tobytes())
    buffer = io.BytesIO()
    if max(clean.size) <= 32:
        clean.save(buffer, "PNG", compress_level=1)
    else:
        clean.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def _check_scans(value: bytes) -> None:
    scans = value.count(b"\xff\xda")
    if scans > JPEG_SCANS_MAX and _count_scans(value) > JPEG_SCANS_MAX:
        raise RejectedError("too-many-scans", f"The JPEG has more than {JPEG_SCANS_MAX} scans.")


def _count_scans(value: bytes) -> int:
    """Start-of-scan markers outside of segments, whose contents (an EXIF thumbnail, say) may hold the same bytes."""
    at, scans = 2, 0
    while at + 4 <= len(value):
        at = value.find(b"\xff", at)
        if at < 0 or at + 4 > len(value):
            break
        marker = value[at + 1]
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD9 or marker == 0x01:
            at += 1 if marker == 0xFF else 2
            continue
        scans += marker == 0xDA
        at += 2 + int.from_bytes(value[at + 2 : at + 4], "big")
    return scans


def _is_cut_short(media_type: str, value: bytes) -> bool:
    """Whether the file ends before its format says that it does."""
    if media_type == "image/png":
        return b"IEND" not in value[-16:] and not _png_has_end(value)
    if media_type == "image/jpeg":
        return b"\xff\xd9" not in value[-64:]
    return len(value) < int.from_bytes(value[4:8], "little") + 8


def _png_has_end(value: bytes) -> bool:
    at = 8
    while at + 8 <= len(value):
        size, kind = int.from_bytes(value[at : at + 4], "big"), value[at + 4 : at + 8]
        if kind == b"IEND":
            return True
        at += 12 + size
    return False
