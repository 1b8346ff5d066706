"""Image bytes to a picture: the one function through which images are indexed and queried. Runs in the decoder child only."""

import hashlib
import io
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from pi_heif import register_heif_opener
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin

from contract.errors import RejectedError
from contract.messages import IMAGE_PIXELS_MAX, check_value
from model.pictures.outlines import check_outline, check_pixels, is_cut_short
from model.pictures.pillow import at_most

TEXT_SIZE_BYTES_MAX = 1024 * 1024
THUMBNAIL_SIDE_PX = 96
PLUGINS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/webp": "WEBP",
    "image/avif": "AVIF",
    "image/heic": "HEIF",
    "image/gif": "GIF",
    "image/bmp": "BMP",
    "image/tiff": "TIFF",
}

# Pixels of a strip: with 1 MiB it stays in the processor's cache, and the digest of 12 Mpx takes 55 ms instead of 158.
_STRIP_PX = 1 << 18
_AT_AN_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")
_JPEG_END = b"\xff\xd9"
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


@dataclass(frozen=True)
class Picture:
    """What the bytes show, whatever the encoder.

    Attributes:
        width, height: pixels, after EXIF orientation.
        pixels_sha256: over size and RGBA pixels after orientation: equal for the same picture in another file format.
        thumbnail: PNG or WebP, longer side at most as many pixels as was asked for.
        image: oriented; mode L, RGB or RGBA; reduced where that was allowed.
        is_truncated: the file lacks its end, and the picture shows what is there.
    """

    media_type: str
    width: int
    height: int
    pixels_sha256: bytes
    thumbnail: bytes
    image: Image.Image
    is_truncated: bool = False


def decode(
    value: bytes,
    thumbnail_side_px: int = THUMBNAIL_SIDE_PX,
    *,
    picture_side_px: int | None = None,
    accept_truncated: bool = False,
    when_measured: Callable[[int], None] = lambda _: None,
) -> Picture:
    """Decode an image completely; of an animation, its first frame.

    Args:
        thumbnail_side_px: longer side of the thumbnail, at most; what it is, the encoder says.
        picture_side_px: a picture may be reduced by a whole number as long as its shorter side keeps so many pixels; None never.
        accept_truncated: take a JPEG or PNG that lacks its end: what is missing is grey, black or transparent, as browsers show it.
        when_measured: called with the number of pixels once that is known, before they are decoded.

    Raises:
        RejectedError: ``empty``, ``too-large``, ``unsupported-type``, ``too-many-pixels``, ``too-many-scans``,
            ``truncated`` or ``corrupt``; the same bytes always give the same reason.
        MemoryError: it took more than the process may have.
    """
    media_type = check_value(value)
    check_outline(media_type, value)
    is_cut = is_cut_short(media_type, value)
    is_mended = is_cut and accept_truncated and media_type in ("image/jpeg", "image/png")
    set_up_pillow(accept_truncated=is_mended)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            # With an end put behind what there is, a decoder fills the rest with grey.
            content = value + _JPEG_END if is_mended and media_type == "image/jpeg" else value
            opened = Image.open(io.BytesIO(content), formats=(PLUGINS[media_type],))
            check_pixels(*opened.size)
            when_measured(opened.width * opened.height)
            image = _upright(_plain(_loaded(opened)), opened)
            if is_cut and not (is_mended and _shows_anything(image)):  # Pillow does without a file's last bytes
                raise RejectedError("truncated", f"The {media_type} file ends before its end marker or stated length.")
            size, digest, info = image.size, _digest(image), image.info
            if picture_side_px is not None:
                image = _reduced(image, picture_side_px)
            thumbnail = _thumbnail(media_type, image, value, thumbnail_side_px, is_plain=not (info or is_mended))
            return Picture(media_type, *size, digest, thumbnail, image, is_mended)
        except (RejectedError, MemoryError):
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            detail = f"The image says that it has more than {IMAGE_PIXELS_MAX} pixels."
            raise RejectedError("too-many-pixels", detail) from error
        except Exception as error:  # Pillow raises nearly anything on hostile bytes; all of it is the image's fault
            reason = "truncated" if is_cut else "corrupt"
            raise RejectedError(reason, f"The {media_type} image cannot be decoded: {_said(error)}.") from error


def _said(error: Exception) -> str:
    """What a decoder says is wrong, the same for the same bytes: nothing of where its objects lie in memory."""
    if isinstance(error, UnidentifiedImageError):
        return "its beginning is damaged"
    return _AT_AN_ADDRESS.sub("the file", str(error)) or type(error).__name__


def set_up_pillow(*, accept_truncated: bool) -> None:
    """Make Pillow refuse what is too large, and use one thread."""
    _register_heif()
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    ImageFile.LOAD_TRUNCATED_IMAGES = accept_truncated
    PngImagePlugin.MAX_TEXT_MEMORY = PngImagePlugin.MAX_TEXT_CHUNK = TEXT_SIZE_BYTES_MAX
    # Pillow looks at this before it makes room for a GIF's or WebP's canvas; its warning is made an error.
    Image.MAX_IMAGE_PIXELS = IMAGE_PIXELS_MAX


@cache
def _register_heif() -> None:
    """Once, since it takes a tenth of what a digit takes in all."""
    register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def _loaded(image: Image.Image) -> Image.Image:
    """The decoded first frame."""
    # Pillow would keep the decoder, which has canvases of its own, beside the frame and the picture: up to 16 bytes a pixel.
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        content, mode = image._get_next()[0], image.rawmode
    elif isinstance(image, AvifImagePlugin.AvifImageFile):
        content, mode = image._decoder.get_frame(0)[0], image.mode
    else:
        stated = image.size
        image.load()
        if image.size != stated:
            raise ValueError(f"it states {stated[0]} x {stated[1]} pixels and holds {image.width} x {image.height}")
        return image
    image._decoder = None
    frame = Image.frombuffer(mode, image.size, content, "raw", mode, 0, 1)
    frame.info = image.info
    return frame if frame.mode == image.mode else frame.convert(image.mode)


def _plain(image: Image.Image) -> Image.Image:
    """8 bits a channel, grey or colour, with alpha where there is transparency."""
    if image.mode.startswith("I"):  # 16 bits of grey, which `convert` would clip
        grey = Image.new("L", image.size)
        for top, strip in _strips(image):
            upper = (np.clip(np.asarray(strip), 0, 65535) >> 8).astype(np.uint8)
            grey.paste(Image.fromarray(upper), (0, top))
        return grey
    if "transparency" in image.info or image.mode in ("LA", "PA"):
        return image.convert("RGBA")
    if image.mode in ("L", "RGB", "RGBA"):
        return image
    return image.convert("L" if image.mode in ("1", "F") else "RGB")


def _shows_anything(image: Image.Image) -> bool:
    """Whether any of a picture that lacks its end is there: nothing would be all of one colour."""
    return any(low != high for low, high in (channel.getextrema() for channel in image.split()))


def _upright(plain: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - cameras and editors write broken EXIF; the pixels are as good as without
        return plain
    operation = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return plain if operation is None else plain.transpose(operation)


def _digest(image: Image.Image) -> bytes:
    digest = hashlib.sha256(struct.pack("<II", *image.size))
    for _, strip in _strips(image):  # since a large picture in RGBA takes 200 MB more
        digest.update(strip.convert("RGBA").tobytes())
    return digest.digest()


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture from top to bottom in strips of full width, each with its first row's number."""
    rows = max(1, _STRIP_PX // image.width)
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _reduced(image: Image.Image, side_px: int) -> Image.Image:
    """The picture at a fraction of its size: the means of squares, which costs a third of a second decoding at a fraction."""
    factor = min(image.size) // side_px
    return image.reduce(factor) if factor > 1 else image


def _thumbnail(media_type: str, image: Image.Image, value: bytes, side_px: int, *, is_plain: bool) -> bytes:
    small = at_most(image, side_px)
    if small is image:
        if media_type == "image/png" and len(value) <= 1024 and is_plain:
            return value  # a digit's own file is its best thumbnail
        small = image.copy()
    small.info = {}  # no colour profile, no place where the picture was taken
    buffer = io.BytesIO()
    if max(small.size) <= 32:
        small.save(buffer, "PNG", compress_level=1)
    else:
        small.save(buffer, "WEBP", quality=80, method=2)
    return buffer.getvalue()
