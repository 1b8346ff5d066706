"""Files that state, or unpack to, far more than they hold, each with the reason that it must be refused for; "" where it is harmless."""

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from PIL import Image

from tests.unit.test_images import FILES, HEIC, encoded, picture, png_chunk, png_of_size

PNG, JPEG, GIF, BMP, AVIF = (FILES[name] for name in ("PNG", "progressive JPEG", "GIF", "BMP", "AVIF"))
MANY = 100_000


class Bomb(NamedTuple):
    """What is wrong with a file is in its name."""

    name: str
    reason: str
    value: bytes


def bombs() -> list[Bomb]:
    """Small files of all formats."""
    kinds: dict[str, Callable[[], dict[str, tuple[str, bytes]]]] = {
        "PNG": _png,
        "JPEG": _jpeg,
        "WebP": _webp,
        "GIF": _gif,
        "BMP": _bmp,
        "TIFF": _tiff,
        "AVIF": lambda: _boxed(AVIF),
        "HEIC": lambda: _boxed(HEIC),
    }
    return [
        Bomb(f"{kind}: {name}", reason, value)
        for kind, made in kinds.items()
        for name, (reason, value) in made().items()
    ]


def _png() -> dict[str, tuple[str, bytes]]:
    text = zlib.compress(bytes(50_000_000), 1)
    rows = zlib.compress(bytes(1251 * 5000), 1)
    header = struct.pack(">IIBBBBB", 10_001, 5000, 1, 0, 0, 0, 0)
    return {
        "states 2^31-1 x 2^31-1": ("too-many-pixels", png_of_size(2**31 - 1, 2**31 - 1)),
        "unpacks to 50 million pixels and a row": (
            "too-many-pixels",
            PNG[:8] + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b""),
        ),
        "unpacks to ten times its rows": ("", _overfull_png()),
        "text of 50 MB": ("corrupt", PNG[:33] + png_chunk(b"zTXt", b"k\x00\x00" + text) + PNG[33:]),
        "colour profile of 50 MB": ("corrupt", PNG[:33] + png_chunk(b"iCCP", b"k\x00\x00" + text) + PNG[33:]),
        "a hundred thousand chunks": ("", PNG[:33] + png_chunk(b"raNd", b"") * MANY + PNG[33:]),
        "a hundred thousand texts": ("corrupt", PNG[:33] + png_chunk(b"tEXt", b"k\x00" + b"x" * 20) * MANY + PNG[33:]),
    }


def _overfull_png() -> bytes:
    header = struct.pack(">IIBBBBB", 1000, 100, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1001 * 100 * 10), 1)
    return PNG[:8] + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def _jpeg() -> dict[str, tuple[str, bytes]]:
    frame, scan = JPEG.index(b"\xff\xc2") + 5, JPEG.index(b"\xff\xda")
    comment = b"\xff\xfe\x00\x02"
    return {
        "states 65,535 x 65,535": ("too-many-pixels", JPEG[:frame] + b"\xff" * 4 + JPEG[frame + 4 :]),
        "a thousand scans": ("too-many-scans", JPEG[:scan] + JPEG[scan:-2] * 1000 + JPEG[-2:]),
        "a hundred thousand comments": ("", JPEG[:2] + comment * MANY + JPEG[2:]),
        "a colour profile in 255 parts that repeat": ("", JPEG[:2] + _profile_part() * 255 + JPEG[2:]),
    }


def _profile_part() -> bytes:
    content = b"ICC_PROFILE\x00\x01\xff" + bytes(1000)
    return b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content


def _webp() -> dict[str, tuple[str, bytes]]:
    lossless, lossy = FILES["lossless WebP"], FILES["lossy WebP"]
    frames = [Image.new("RGB", (300, 300), (n % 256, n // 256, 9)) for n in range(1, 200)]
    animated = encoded(picture(300, 300), "WEBP", save_all=True, append_images=frames, duration=9)
    canvas = bytearray(animated)
    canvas[24:30] = (16383).to_bytes(3, "little") * 2
    return {
        "canvas of 16,384 x 16,384": ("too-many-pixels", bytes(canvas)),
        "lossless, states 16,383 x 16,383": (
            "too-many-pixels",
            lossless[:21] + (16382 << 14 | 16382).to_bytes(4, "little") + lossless[25:],
        ),
        "lossy, states 16,383 x 16,383": ("too-many-pixels", lossy[:26] + b"\xff\x3f\xff\x3f" + lossy[30:]),
        "200 frames": ("", animated),
    }


def large_animation() -> bytes:
    """64 frames, each of 50 million pixels: it takes 200 MB, and one byte says of what colour all its pixels are."""
    width, height = 8165, 6123
    bits = f"{width - 1:014b}"[::-1] + f"{height - 1:014b}"[::-1] + "0" * 4  # no alpha, version 0
    bits += "000" + "1000" * 5  # no transforms; five codes, each of one symbol, which is 0 and takes no bit
    packed = int(bits[::-1], 2).to_bytes(8, "little")
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    still = _riff(b"VP8L", b"\x2f" + packed)
    frames = _riff(b"ANMF", bytes(6) + sides + (40).to_bytes(3, "little") + b"\0" + still) * 64
    header = _riff(b"VP8X", struct.pack("<I", 2) + sides) + _riff(b"ANIM", bytes(6))
    return _riff(b"RIFF", b"WEBP" + header + frames)


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _gif() -> dict[str, tuple[str, bytes]]:
    frame = GIF.index(b"\x2c", 13 + 3 * 256)
    comment = b"\x21\xfe" + (b"\xff" + b"x" * 255) * 20_000 + b"\x00"
    frames = [Image.new("P", (300, 300), n % 251) for n in range(1, 2000)]
    return {
        "screen of 65,535 x 65,535": ("too-many-pixels", GIF[:6] + b"\xff" * 4 + GIF[10:]),
        "frame of 65,535 x 65,535": ("too-many-pixels", GIF[: frame + 5] + b"\xff" * 4 + GIF[frame + 9 :]),
        "frame far outside of its screen": ("too-many-pixels", GIF[: frame + 1] + b"\xff" * 4 + GIF[frame + 5 :]),
        "2,000 frames": ("", encoded(picture(300, 300).convert("P"), "GIF", save_all=True, append_images=frames)),
        "comment of 5 MB": ("", GIF[:frame] + comment + GIF[frame:]),
        "a hundred thousand empty extensions": ("corrupt", GIF[:frame] + b"\x21\x99\x00" * MANY + GIF[frame:]),
    }


def _bmp() -> dict[str, tuple[str, bytes]]:
    def of(width: int, height: int, compression: int = 0, bits: int = 24, colours: int = 0) -> bytes:
        sizes = struct.pack("<iiHHIIiiII", width, height, 1, bits, compression, 0, 0, 0, colours, 0)
        return BMP[:14] + struct.pack("<I", 40) + sizes + bytes(1000)

    return {
        "states 30,000 x 30,000": ("too-many-pixels", of(30_000, 30_000)),
        "states 30,000 x -30,000": ("too-many-pixels", of(30_000, -30_000)),
        "states 7,000 x 7,000 and has no rows": ("truncated", of(7000, 7000)),
        "run lengths that jump over millions of pixels": ("", of(2000, 2000, 1, 8) + b"\0\2\xff\xff" * 10_000),
        "palette of four billion colours": ("corrupt", of(10, 10, 0, 8, 0xFFFFFFFF)),
    }


def _tiff() -> dict[str, tuple[str, bytes]]:
    huge = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 273: 8, 278: 60_000, 279: 1}
    small = {256: 10, 257: 10, 258: 8, 259: 1, 262: 1, 273: 8, 278: 10, 279: 100}
    frames = [Image.new("P", (300, 300), n % 251) for n in range(1, 500)]
    return {
        "states 60,000 x 60,000": ("too-many-pixels", tiff_of(huge)),
        "states 7,000 x 7,000 and has no rows": (
            "truncated",
            tiff_of(small | {256: 7000, 257: 7000, 278: 7000, 279: 49_000_000}),
        ),
        "a billion strips": ("corrupt", tiff_of({256: 10, 257: 10, 273: 8}, count=1_000_000_000)),
        "text of four billion bytes": ("truncated", tiff_of(small | {305: 8}, kind=2, count=0xFFFFFFFF)),
        "500 frames": (
            "",
            encoded(
                picture(300, 300).convert("P"), "TIFF", save_all=True, append_images=frames, compression="tiff_deflate"
            ),
        ),
    }


def tiff_of(tags: dict[int, int], kind: int = 4, count: int = 1) -> bytes:
    """A TIFF of these tags alone, of which the last one has so many values of that kind."""
    last = max(tags)
    entries = [
        struct.pack("<HHII", tag, kind if tag == last else 4, count if tag == last else 1, number)
        for tag, number in sorted(tags.items())
    ]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)


def _boxed(value: bytes) -> dict[str, tuple[str, bytes]]:
    size = value.index(b"ispe") + 8
    start = int.from_bytes(value[:4], "big")
    return {
        "states 16,000 x 16,000": (
            "too-many-pixels",
            value[:size] + struct.pack(">II", 16000, 16000) + value[size + 8 :],
        ),
        "states 2^32-1 x 2^32-1": ("too-many-pixels", value[:size] + b"\xff" * 8 + value[size + 8 :]),
        "box of 2^64-1 bytes": ("truncated", value[:start] + b"\0\0\0\1free" + b"\xff" * 8 + value[start:]),
    }
