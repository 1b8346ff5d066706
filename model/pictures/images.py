"""Image bytes to a picture: the one function through which images are indexed and queried. Runs in the decoder child only."""

import hashlib
import io
import re
import struct
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from contract.errors import RejectedError
from contract.messages import IMAGE_PIXELS_MAX, check_value

# More scans than any camera or encoder writes; each costs a pass over all pixels (308 kB once took 86 s).
JPEG_SCANS_MAX = 64
TEXT_SIZE_BYTES_MAX = 1024 * 1024
THUMBNAIL_SIDE_PX = 96
PLUGINS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}

_HASHED_ROWS = 256
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A marker that begins a segment, or the end; not stuffed bytes, fill bytes, restarts or the start.
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")


@dataclass(frozen=True)
class Picture:
    """What the bytes show, whatever the encoder.

    Attributes:
        width, height: pixels, after EXIF orientation.
        pixels_sha256: over size and RGBA pixels after orientation: equal for the same picture in another file format.
        thumbnail: PNG or WebP, longer side at most as many pixels as was asked for.
        image: oriented; mode L, RGB or RGBA.
    """

    media_type: str
    width: int
    height: int
    pixels_sha256: bytes
    thumbnail: bytes
    image: Image.Image


def decode(value: bytes, thumbnail_side_px: int = THUMBNAIL_SIDE_PX) -> Picture:
    """Decode an image completely; of an animation, its first frame.

    Args:
        thumbnail_side_px: longer side of the thumbnail, at most; what it is, the encoder says.

    Raises:
        RejectedError: ``empty``, ``too-large``, ``unsupported-type``, ``too-many-pixels``, ``too-many-scans``,
            ``truncated`` or ``corrupt``; the same bytes always give the same reason.
        MemoryError: it took more than the process may have.
    """
    media_type = check_value(value)
    if media_type == "image/jpeg":
        _check_scans(value)
    if media_type == "image/webp":
        _check_pixels(*_webp_size(value))  # Pillow makes room for the canvas before it tells how large it is
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK = TEXT_SIZE_BYTES_MAX
    Image.MAX_IMAGE_PIXELS = None  # our own limit is an error, not a warning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image: Image.Image = Image.open(io.BytesIO(value), formats=(PLUGINS[media_type],))
            _check_pixels(*image.size)
            image.load()
            if _is_cut_short(media_type, value):  # Pillow does without a file's last bytes
                raise RejectedError("truncated", f"The {media_type} file ends before its end marker or stated length.")
            image = _upright(_plain(image), image)
            return Picture(
                media_type, *image.size, _digest(image), _thumbnail(media_type, image, value, thumbnail_side_px), image
            )
        except (RejectedError, MemoryError):
            raise
        except Exception as error:  # Pillow raises nearly anything on hostile bytes; all of it is the image's fault
            reason = "truncated" if _is_cut_short(media_type, value) else "corrupt"
            raise RejectedError(reason, f"The {media_type} image cannot be decoded: {error}.") from error


def _plain(image: Image.Image) -> Image.Image:
    """8 bits a channel, grey or colour, with alpha where there is transparency."""
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
        return Image.fromarray((np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA"):
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _upright(plain: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - cameras and editors write broken EXIF; the pixels are as good as without
        return plain
    operation = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return plain if operation is None else plain.transpose(operation)


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.sha256(struct.pack("<II", *image.size))
    for top in range(0, image.height, _HASHED_ROWS):  # strips, since a large picture in RGBA takes 100 MB more
        bottom = min(top + _HASHED_ROWS, image.height)
        strip = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        digest.update(strip.convert("RGBA").tobytes())
    return digest.digest()


def _thumbnail(media_type: str, image: Image.Image, value: bytes, side_px: int) -> bytes:
    is_small = max(image.size) <= side_px
    if is_small and media_type == "image/png" and len(value) <= 1024 and not image.info:
        return value  # a digit's own file is its best thumbnail
    if is_small:
        small = image.copy()
    else:
        scale = side_px / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    small.info = {}  # no colour profile, no place where the picture was taken
    buffer = io.BytesIO()
    if max(small.size) <= 32:
        small.save(buffer, "PNG", compress_level=1)
    else:
        small.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()


def _check_pixels(width: int, height: int) -> None:
    if width * height > IMAGE_PIXELS_MAX:
        raise RejectedError(
            "too-many-pixels", f"The image has {width} x {height} pixels, at most {IMAGE_PIXELS_MAX} in all."
        )


def _webp_size(value: bytes) -> tuple[int, int]:
    """Width and height that the header states; (0, 0) where it has none."""
    kind, content = value[12:16], value[20:30]
    if len(content) < 10:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if kind == b"VP8L":
        packed = int.from_bytes(content[1:5], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF
    return 0, 0


def _check_scans(value: bytes) -> None:
    # Counting bytes is quick; only where there are many is it worth asking which of them are scans.
    if value.count(b"\xff\xda") > JPEG_SCANS_MAX and _jpeg_outline(value)[0] > JPEG_SCANS_MAX:
        raise RejectedError("too-many-scans", f"The JPEG has more than {JPEG_SCANS_MAX} scans.")


def _jpeg_outline(value: bytes) -> tuple[int, bool]:
    """Number of scans up to the end of the image, at most one more than allowed, and whether that end is there.

    Markers inside of segments do not count: an EXIF thumbnail, say, is a JPEG of its own.
    """
    at, scans = 2, 0
    while scans <= JPEG_SCANS_MAX and (marker := _JPEG_MARKER.search(value, at)):
        if marker[1] == b"\xd9":
            return scans, True
        scans += marker[1] == b"\xda"
        at = marker.end() + max(2, int.from_bytes(value[marker.end() : marker.end() + 2], "big"))
    return scans, False


def _is_cut_short(media_type: str, value: bytes) -> bool:
    """Whether the file ends before its format says that it does."""
    if media_type == "image/jpeg":
        return not _jpeg_outline(value)[1]
    if media_type == "image/webp":
        return len(value) < int.from_bytes(value[4:8], "little") + 8
    at = 8
    while at + 12 <= len(value) and value[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(value[at : at + 4], "big")
    return at + 12 > len(value)
