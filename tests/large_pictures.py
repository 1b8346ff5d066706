"""Pictures of nearly 50 million pixels and nearly 32 MiB, in the formats that take most memory."""

import struct

from PIL import Image

from contract.messages import IMAGE_SIZE_BYTES_MAX
from tests.bad_messages import padded
from tests.unit.test_images import encoded, picture

SIDES_PX = (8165, 6123)


def large_pictures() -> dict[str, bytes]:
    """One picture by format; what it lacks in bytes is filled with segments or chunks that nobody reads."""
    whole = picture(50, 50).resize(SIDES_PX, Image.Resampling.BICUBIC)
    jpeg = encoded(whole, "JPEG", quality=85, progressive=True)
    webp = encoded(whole, "WEBP", quality=50, method=0)
    return {
        "progressive JPEG": _filled_jpeg(jpeg),
        "PNG": padded(encoded(whole, "PNG", compress_level=1), IMAGE_SIZE_BYTES_MAX),
        "WebP": _filled_webp(webp),
    }


def _filled_jpeg(jpeg: bytes) -> bytes:
    segment = b"\xff\xfe\xff\xff" + bytes(65_533)
    return jpeg[:2] + segment * ((IMAGE_SIZE_BYTES_MAX - len(jpeg)) // len(segment)) + jpeg[2:]


def _filled_webp(webp: bytes) -> bytes:
    """A simple WebP in the extended format, with a chunk of no meaning behind the picture."""
    header = b"VP8X" + struct.pack("<II", 10, 0) + b"".join((side - 1).to_bytes(3, "little") for side in SIDES_PX)
    lacking = (IMAGE_SIZE_BYTES_MAX - len(webp) - len(header) - 8) // 2 * 2 - 32
    content = b"WEBP" + header + webp[12:] + b"junk" + struct.pack("<I", lacking) + bytes(lacking)
    return b"RIFF" + struct.pack("<I", len(content)) + content
