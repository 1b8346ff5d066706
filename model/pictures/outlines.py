"""What the bytes of a picture say of themselves, read without decoding: how much they ask for, and whether their end is there."""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from contract.errors import RejectedError
from contract.messages import IMAGE_PIXELS_MAX

# More scans than any camera or encoder writes; each costs a pass over all pixels (308 kB once took 86 s).
JPEG_SCANS_MAX = 64
# Numbers in one tag of a TIFF, such as the places of its strips. Each becomes an object of some 40 bytes.
TIFF_NUMBERS_MAX = 65_536

# A marker that begins a segment, or the end; not stuffed bytes, fill bytes, restarts or the start.
_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
# The box in which an AVIF or HEIC states a size, with its own length of 20 bytes in front.
_STATED_SIZE = re.compile(rb"\0\0\0\x14ispe....(....)(....)", re.DOTALL)
_TIFF_TYPE_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_TIFF_BYTES = {1, 2, 6, 7}
_SUBFILE, _DNG_VERSION = 254, 50706
_TIFF_PIECES = ((273, 279), (324, 325))  # offsets and sizes of strips, of tiles
# What reading there raises; the last one where a number of 8 bytes is no place at all.
_BEYOND_THE_END = (IndexError, struct.error, OverflowError)


def check_pixels(width: int, height: int) -> None:
    """Refuse more pixels than an image may have.

    Raises:
        RejectedError: ``too-many-pixels``.
    """
    if width * height > IMAGE_PIXELS_MAX:
        raise RejectedError(
            "too-many-pixels", f"The image has {width} x {height} pixels, at most {IMAGE_PIXELS_MAX} in all."
        )


def check_outline(media_type: str, value: bytes) -> None:
    """Refuse what would cost too much even before its size is known.

    Raises:
        RejectedError: ``too-many-scans``, ``too-many-pixels``, ``corrupt`` or ``unsupported-type``.
    """
    if media_type == "image/jpeg":
        # Counting bytes is quick; only where there are many is it worth asking which of them are scans.
        if value.count(b"\xff\xda") > JPEG_SCANS_MAX and _jpeg_outline(value)[0] > JPEG_SCANS_MAX:
            raise RejectedError("too-many-scans", f"The JPEG has more than {JPEG_SCANS_MAX} scans.")
    elif media_type == "image/webp":
        check_pixels(*_webp_size(value))  # Pillow makes room for the canvas before it tells how large it is
    elif media_type == "image/tiff":
        _check_tiff(value)
    elif media_type in ("image/avif", "image/heic"):
        for width, height in _stated_sizes(value):
            check_pixels(width, height)


def is_cut_short(media_type: str, value: bytes) -> bool:
    """Whether the file ends before its format says that it does. What follows behind the end does not matter."""
    try:
        return _CUT_SHORT[media_type](value)
    except _BEYOND_THE_END:  # it ends inside of what says where it ends
        return True


def _jpeg_is_cut_short(value: bytes) -> bool:
    return not _jpeg_outline(value)[1]


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


def _png_is_cut_short(value: bytes) -> bool:
    at = 8
    while at + 12 <= len(value) and value[at + 4 : at + 8] != b"IEND":
        at += 12 + int.from_bytes(value[at : at + 4], "big")
    return at + 12 > len(value)


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


def _webp_is_cut_short(value: bytes) -> bool:
    return len(value) < int.from_bytes(value[4:8], "little") + 8


def _gif_is_cut_short(value: bytes) -> bool:
    """Of all frames: the trailer is searched from block to block."""
    at = 13 + _gif_palette_size(value[10])
    while (kind := value[at]) != 0x3B:
        at += 1
        if kind == 0x21:
            at += 1
        elif kind == 0x2C:
            at += 10 + _gif_palette_size(value[at + 8])
        else:
            continue  # decoders skip what is no block
        while size := value[at]:
            at += size + 1
        at += 1
    return False


def _gif_palette_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _bmp_is_cut_short(value: bytes) -> bool:
    start, header_size = struct.unpack_from("<II", value, 10)
    if header_size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", value, 18)
        compression = size = 0
    else:
        width, height, _, bits, compression, size = struct.unpack_from("<iiHHII", value, 18)
    if compression not in (1, 2):  # not run-length encoded, so the rows say where they end
        size = (width * bits + 31) // 32 * 4 * abs(height)
    return bool(start + size > len(value))


class _Box(NamedTuple):
    """A box at the top of a file; where it ends may lie behind the file's end."""

    kind: bytes
    start: int
    end: int


def _boxes(value: bytes) -> Iterator[_Box]:
    """Raises one of `_BEYOND_THE_END` where the file ends inside of a box's head."""
    at = 0
    while at + 8 <= len(value):
        size, kind = int.from_bytes(value[at : at + 4], "big"), value[at + 4 : at + 8]
        if size == 1:
            (size,) = struct.unpack_from(">Q", value, at + 8)
        end = at + size if size >= 8 else len(value)  # 0 means up to the file's end
        yield _Box(kind, at, end)
        at = end


def _boxes_are_cut_short(value: bytes) -> bool:
    """Of AVIF and HEIC: there must be a whole box that describes pictures, and a whole one that holds them."""
    lacking = {b"meta", b"mdat"}
    for kind, start, end in _boxes(value):
        if end > len(value):
            return True
        lacking.discard(b"meta" if kind == b"moov" else kind)
        if kind == b"meta" and b"idat" in value[start:end]:
            lacking.discard(b"mdat")
        if not lacking:
            return False
    return True


def _stated_sizes(value: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of all that an AVIF or HEIC describes: the picture, its tiles, its previews."""
    try:
        for kind, start, end in _boxes(value):
            if kind == b"meta":
                for stated in _STATED_SIZE.finditer(value, start, end):
                    yield int.from_bytes(stated[1], "big"), int.from_bytes(stated[2], "big")
    except _BEYOND_THE_END:
        return  # it is cut short, which is told after it could not be decoded


class _Tag(NamedTuple):
    """A tag of a TIFF's first picture: how many numbers it has, and where they lie."""

    number: int
    kind: int
    numbers: int
    at: int


def _tiff_tags(value: bytes, order: str) -> Iterator[_Tag]:
    """Raises one of `_BEYOND_THE_END` where the file ends before."""
    is_big = struct.unpack_from(f"{order}H", value, 2)[0] == 43
    directory, number, entry, place = ("Q", "Q", "HHQ", "Q") if is_big else ("I", "H", "HHI", "I")
    (at,) = struct.unpack_from(order + directory, value, 8 if is_big else 4)
    (count,) = struct.unpack_from(order + number, value, at)
    at += struct.calcsize(order + number)
    entry_size, place_size = struct.calcsize(order + entry), struct.calcsize(order + place)
    for _ in range(count):
        tag, kind, values = struct.unpack_from(order + entry, value, at)
        here = at + entry_size
        (there,) = struct.unpack_from(order + place, value, here)
        is_here = values * _TIFF_TYPE_SIZES.get(kind, 1) <= place_size
        yield _Tag(tag, kind, values, here if is_here else there)
        at = here + place_size


def _check_tiff(value: bytes) -> None:
    order = "<" if value[:1] == b"I" else ">"
    try:
        for tag in _tiff_tags(value, order):
            if tag.kind not in _TIFF_BYTES and tag.numbers > TIFF_NUMBERS_MAX:
                raise RejectedError(
                    "corrupt", f"The TIFF's tag {tag.number} says {tag.numbers} numbers, at most {TIFF_NUMBERS_MAX}."
                )
            is_preview = tag.number == _SUBFILE and tag.numbers == 1 and _tiff_numbers(value, order, tag)[0] & 1
            if is_preview or tag.number == _DNG_VERSION:
                raise RejectedError(
                    "unsupported-type",
                    "It is a camera's raw file, whose first picture is only a small preview. Export it as JPEG.",
                )
    except _BEYOND_THE_END:
        return  # it is cut short, which is told after it could not be decoded


def _tiff_is_cut_short(value: bytes) -> bool:
    order = "<" if value[:1] == b"I" else ">"
    pieces = {}
    for tag in _tiff_tags(value, order):
        if tag.at + tag.numbers * _TIFF_TYPE_SIZES.get(tag.kind, 1) > len(value):
            return True
        if tag.kind in (3, 4, 16) and any(tag.number in piece for piece in _TIFF_PIECES):
            pieces[tag.number] = _tiff_numbers(value, order, tag)
    for offsets, sizes in _TIFF_PIECES:
        if offsets in pieces:
            starts = pieces[offsets]
            lengths = pieces.get(sizes) or (0,) * len(starts)
            if any(start + length > len(value) for start, length in zip(starts, lengths, strict=False)):
                return True
    return False


def _tiff_numbers(value: bytes, order: str, tag: _Tag) -> tuple[int, ...]:
    letter = {3: "H", 4: "I", 16: "Q"}.get(tag.kind, "B")
    return struct.unpack_from(f"{order}{tag.numbers}{letter}", value, tag.at)


_CUT_SHORT: dict[str, Callable[[bytes], bool]] = {
    "image/png": _png_is_cut_short,
    "image/jpeg": _jpeg_is_cut_short,
    "image/webp": _webp_is_cut_short,
    "image/gif": _gif_is_cut_short,
    "image/bmp": _bmp_is_cut_short,
    "image/avif": _boxes_are_cut_short,
    "image/heic": _boxes_are_cut_short,
    "image/tiff": _tiff_is_cut_short,
}
