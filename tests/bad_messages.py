"""Every kind of bad message that we could think of, with the reason that it must be refused for, and odd ones that are good."""

import json
import random
import struct
import zlib
from typing import NamedTuple

from PIL import Image

from contract.messages import IMAGE_SIZE_BYTES_MAX
from tests.embedding import Sent
from tests.unit.test_images import DIGIT, FILES, encoded, picture, png_chunk, png_of_size

PNG = FILES["PNG"]
JPEG = FILES["JPEG"]
WEBP = FILES["lossy WebP"]
MANY_HEADERS = tuple((f"header-{n}", b"x" * 1000) for n in range(100))


class Case(NamedTuple):
    """A message and the reason that it must be refused for; "" for one that is good."""

    name: str
    reason: str
    sent: Sent


def bad_messages() -> list[Case]:
    """Messages that must be refused, all of another kind."""
    values = [
        ("no bytes", "empty", b""),
        *((name, "unsupported-type", value) for name, value in _other_types().items()),
        *(
            (f"{name} cut {where}", "truncated", whole[:size])
            for name, whole in FILES.items()
            for where, size in {"in its header": 20, "in half": len(whole) // 2, "before its end": -1}.items()
        ),
        ("PNG signature before a JPEG", "truncated", PNG[:8] + JPEG),
        *((name, "too-many-pixels", value) for name, value in _too_many_pixels().items()),
        *((name, "corrupt", value) for name, value in _corrupt().items()),
        ("JPEG of 100 scans", "too-many-scans", _repeated_scan(JPEG, 100)),
        ("one byte over 32 MiB", "too-large", padded(PNG, IMAGE_SIZE_BYTES_MAX + 1)),
        ("33 MiB of noise", "too-large", PNG + random.Random(1).randbytes(33 << 20)),
    ]
    keys = {
        "empty key": b"",
        "key of 257 bytes": b"k" * 257,
        "key with a newline": b"a\nb",
        "key with a null character": b"a\0b",
        "key with a delete character": b"a\x7f",
        "key with a C1 character": "a\x85".encode(),
        "key in Latin-1": "é".encode("latin-1"),
        "key with half a surrogate pair": b"\xed\xa0\xbd",
        "key of 100 kB": b"k" * 100_000,
    }
    metadata = {
        "metadata that are no JSON": b"{",
        "metadata that are a list": b"[1]",
        "metadata that are null": b"null",
        "metadata of no bytes": b"",
        "metadata in Latin-1": '{"a": "é"}'.encode("latin-1"),
        "metadata with NaN": b'{"a": NaN}',
        "metadata with half a surrogate pair": b'{"a": "\\ud83d"}',
        "metadata nested 8,000 deep": b'{"a": ' + b"[" * 8000 + b"]" * 8000 + b"}",
        "metadata nested 65 deep": b'{"a":' * 65 + b"1" + b"}" * 65,
        "metadata of 16 KiB and a byte": json.dumps({"a": "x" * (16 * 1024 - 8)}).encode(),
        "metadata of 100 kB": json.dumps({"a": "x" * 100_000}).encode(),
        "metadata in UTF-16": '{"a": 1}'.encode("utf-16"),
    }
    return [
        *(Case(name, reason, Sent(b"bad", value)) for name, reason, value in values),
        *(Case(name, "bad-key", Sent(key, DIGIT)) for name, key in keys.items()),
        *(Case(name, "bad-metadata", Sent(b"bad", DIGIT, (("metadata", value),))) for name, value in metadata.items()),
        Case("two headers named metadata", "bad-metadata", Sent(b"bad", DIGIT, (("metadata", b"{}"),) * 2)),
        Case("deletion with bad metadata", "bad-metadata", Sent(b"bad", None, (("metadata", b"{"),))),
        Case("neither key nor value", "missing-key", Sent(None, None)),
        Case("bad image under 100 kB of headers", "unsupported-type", Sent(b"bad", b"%PDF-1.7", MANY_HEADERS)),
    ]


def odd_messages() -> list[Case]:
    """Messages that look like bad ones and are good."""
    grey = picture().convert("L")
    values = {
        **{
            f"PNG of mode {mode}": encoded(picture().convert(mode), "PNG")
            for mode in ("1", "L", "LA", "P", "RGB", "RGBA")
        },
        "PNG of 16 bits": encoded(grey.convert("I;16"), "PNG"),
        "PNG with a transparent colour": encoded(picture().convert("P"), "PNG", transparency=0),
        "interlaced PNG of 1 pixel": encoded(Image.new("L", (1, 1)), "PNG"),
        "CMYK JPEG": encoded(picture().convert("CMYK"), "JPEG"),
        "grey JPEG": encoded(grey, "JPEG"),
        "progressive JPEG": FILES["progressive JPEG"],
        "JPEG with broken EXIF": encoded(picture(), "JPEG", exif=b"Exif\x00\x00garbage"),
        "lossless WebP": FILES["lossless WebP"],
        "WebP with transparency": encoded(picture().convert("RGBA"), "WEBP"),
        "animated PNG": FILES["PNG of two frames"],
        "PNG that goes on as HTML": PNG + b"<html><script>alert(1)</script></html>",
        "JPEG that goes on as ZIP": JPEG + b"PK\x03\x04" + bytes(100),
        "exactly 32 MiB": padded(PNG, IMAGE_SIZE_BYTES_MAX),
        "picture of 50 million pixels": encoded(Image.new("1", (10_000, 5000)), "PNG"),
    }
    keys = {"path": b"../a/b", "emoji": "🦊".encode(), "256 bytes": b"k" * 256, "right to left": "\u202eabc".encode()}
    return [
        *(Case(name, "", Sent(f"odd/{name}".encode(), value)) for name, value in values.items()),
        *(Case(f"key: {name}", "", Sent(key, DIGIT)) for name, key in keys.items()),
        *(Case(f"EXIF {n}", "", Sent(f"exif/{n}".encode(), value)) for n, value in turned(picture()).items()),
        Case("no key", "", Sent(None, DIGIT)),
        Case("100 kB of headers", "", Sent(b"odd/headers", DIGIT, MANY_HEADERS)),
        Case(
            "metadata nested 64 deep", "", Sent(b"odd/nested", DIGIT, (("metadata", b'{"a":' * 64 + b"1" + b"}" * 64),))
        ),
        Case("metadata of 16 KiB", "", Sent(b"odd/metadata", DIGIT, (("metadata", _metadata(16 * 1024)),))),
    ]


def turned(upright: Image.Image) -> dict[int, bytes]:
    """The same picture as PNG in all eight EXIF orientations, by orientation."""
    # What undoes each: the picture is stored as the camera saw it.
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    files = {}
    for orientation, operation in back.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = upright if operation is None else upright.transpose(Image.Transpose(operation))
        files[orientation] = encoded(stored, "PNG", exif=exif.tobytes())
    return files


def padded(png: bytes, size: int) -> bytes:
    """The PNG made `size` bytes long by a chunk that nobody reads."""
    lacking = size - len(png) - 12
    return png[:33] + png_chunk(b"raNd", random.Random(size).randbytes(lacking)) + png[33:]


def _other_types() -> dict[str, bytes]:
    files = {kind: encoded(picture(), kind) for kind in ("ICO", "PPM", "JPEG2000", "TGA", "PCX")}
    return files | {
        "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "HTML": b"<!doctype html><p>hello",
        "HTML that goes on as PNG": b"<html>" + PNG,
        "film": b"\x00\x00\x00\x18ftypisom" + bytes(100),
        "PDF": b"%PDF-1.7\n" + JPEG,
        "ZIP": b"PK\x03\x04" + bytes(100),
        "program": b"\x7fELF" + bytes(100),
        "text": "Grüße".encode(),
        "zeros": bytes(1000),
        "PNG signature sent as text": PNG.replace(b"\r\n", b"\n"),
        "RIFF that is sound": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(30),
        "part of the PNG signature": PNG[:7],
    }


def _too_many_pixels() -> dict[str, bytes]:
    frame = JPEG.index(b"\xff\xc0") + 5
    lossless = FILES["lossless WebP"]
    return {
        "PNG header of 7,100 x 7,100": png_of_size(7100, 7100),
        "PNG header of 65,535 x 65,535": png_of_size(65535, 65535),
        "PNG header of 2^31-1 x 2^31-1": png_of_size(2**31 - 1, 2**31 - 1),
        "JPEG header of 65,535 x 65,535": JPEG[:frame] + b"\xff" * 4 + JPEG[frame + 4 :],
        "WebP canvas of 16,384 x 16,384": webp_of_size(16384, 16384),
        "WebP of 16,383 x 16,383": lossless[:21] + ((16382 << 14 | 16382).to_bytes(4, "little")) + lossless[25:],
        "lossy WebP of 16,383 x 16,383": WEBP[:26] + b"\xff\x3f\xff\x3f" + WEBP[30:],
    }


def webp_of_size(width: int, height: int) -> bytes:
    """An animated WebP with a canvas of that size and a frame of 60 x 40."""
    value = bytearray(encoded(picture(), "WEBP", save_all=True, append_images=[picture().rotate(90)], duration=9))
    assert value[12:16] == b"VP8X"
    value[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(value)


def _corrupt() -> dict[str, bytes]:
    data = PNG.index(b"IDAT")
    text = zlib.compress(bytes(50_000_000))
    profile = png_chunk(b"iCCP", b"k\x00\x00" + text)
    return {
        "PNG header of more rows than it holds": png_of_size(100, 100),
        "PNG header of no columns": png_of_size(0, 5),
        "PNG with a wrong checksum": PNG[: data + 100] + bytes([PNG[data + 100] ^ 1]) + PNG[data + 101 :],
        "PNG of its end alone": PNG[:8] + png_chunk(b"IEND", b""),
        "PNG of unknown colour type": PNG[:8]
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 5, 0, 0, 0))
        + PNG[33:],
        "text that unpacks to 50 MB": PNG[:33] + png_chunk(b"zTXt", b"k\x00\x00" + text) + PNG[33:],
        "international text that unpacks to 50 MB": PNG[:33]
        + png_chunk(b"iTXt", b"k\x00\x01\x00\x00\x00" + text)
        + PNG[33:],
        "colour profile that unpacks to 50 MB": PNG[:33] + profile + PNG[33:],
        "2,000 texts of 1 kB": PNG[:33] + png_chunk(b"tEXt", b"k\x00" + b"x" * 1000) * 2000 + PNG[33:],
        "JPEG of nothing but its end": b"\xff\xd8\xff\xd9",
        "JPEG signature before HTML": b"\xff\xd8\xff" + b"<html>" * 100 + b"\xff\xd9",
        "WebP of noise": b"RIFF" + (1004).to_bytes(4, "little") + b"WEBP" + random.Random(2).randbytes(1000),
        "32 MiB of noise behind a PNG header": corrupt_of_32_mib(),
    }


def corrupt_of_32_mib() -> bytes:
    """A PNG of exactly 32 MiB whose pixels do not unpack."""
    noise = random.Random(3).randbytes(IMAGE_SIZE_BYTES_MAX - 33 - 12 - 12)
    return PNG[:33] + png_chunk(b"IDAT", noise) + png_chunk(b"IEND", b"")


def _repeated_scan(jpeg: bytes, count: int) -> bytes:
    start = jpeg.index(b"\xff\xda")
    return jpeg[:start] + jpeg[start:-2] * count + jpeg[-2:]


def _metadata(size: int) -> bytes:
    empty = json.dumps({"a": ""}, separators=(",", ":")).encode()
    return empty.replace(b'""', b'"' + b"x" * (size - len(empty)) + b'"')
