"""Bytes to pixels: every mode and orientation, and every kind of bad bytes has its stable reason."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import RejectedError
from contract.messages import IMAGE_SIZE_BYTES_MAX
from model import mnist
from model.pictures import images
from model.pictures.images import decode

DIGIT = mnist.png(mnist.images("test")[0])
# `picture()`, saved once: what decodes HEIC for us does not encode it.
HEIC = (Path(__file__).parents[1] / "golden" / "formats" / "picture.heic").read_bytes()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(width: int = 60, height: int = 40) -> Image.Image:
    rows = np.linspace(0, 255, height)[:, None, None]
    columns = np.linspace(0, 255, width)[None, :, None]
    return Image.fromarray(np.uint8(np.clip(rows + columns * np.array([0.2, 0.5, 1.0]), 0, 255)))


def reason_of(value: bytes) -> str:
    with pytest.raises(RejectedError) as caught:
        decode(value)
    return caught.value.reason


def refused(value: bytes) -> RejectedError | None:
    try:
        decode(value)
    except RejectedError as error:
        return error
    return None


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "HEIC"])
def test_every_format_is_decoded(kind: str) -> None:
    found = decode(HEIC if kind == "HEIC" else encoded(picture(), kind))
    assert (found.media_type, found.width, found.height) == (f"image/{kind.lower()}", 60, 40)
    assert np.abs(np.asarray(found.image.convert("RGB"), int) - np.asarray(picture(), int)).mean() < 8
    assert max(Image.open(io.BytesIO(found.thumbnail)).size) <= 96


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_gives_pixels(mode: str) -> None:
    image = (
        Image.fromarray(np.uint16(np.arange(2400).reshape(40, 60) * 27)) if mode == "I;16" else picture().convert(mode)
    )
    found = decode(encoded(image, "PNG"))
    assert found.image.mode in ("L", "RGB", "RGBA")
    assert (found.width, found.height) == found.image.size == (60, 40)


def test_cmyk_and_transparent_palettes_are_decoded() -> None:
    assert decode(encoded(picture().convert("CMYK"), "JPEG")).image.mode == "RGB"
    palette = picture().convert("P")
    assert decode(encoded(palette, "PNG", transparency=0)).image.mode == "RGBA"


def test_sixteen_bits_of_grey_keep_their_upper_eight() -> None:
    wide = np.uint16(np.arange(2400).reshape(40, 60) * 27)
    assert (np.asarray(decode(encoded(Image.fromarray(wide), "PNG")).image) == wide >> 8).all()


def test_picture_of_one_bit_with_a_transparent_colour_is_decoded() -> None:
    value = encoded(picture().convert("1"), "PNG", transparency=0)
    assert decode(value).image.mode == "RGBA"


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_animation_counts_as_its_first_frame(kind: str, options: dict[str, object]) -> None:
    later = [picture().rotate(angle) for angle in (90, 180)]
    animated = encoded(picture(), kind, save_all=True, append_images=later, duration=100, **options)
    assert decode(animated).pixels_sha256 == decode(encoded(picture(), "PNG")).pixels_sha256


def test_broken_exif_is_as_good_as_none() -> None:
    broken = encoded(picture(), "JPEG", exif=b"Exif\x00\x00garbage that is no TIFF")
    assert decode(broken).pixels_sha256 == decode(encoded(picture(), "JPEG")).pixels_sha256


def test_thumbnail_tells_nothing_that_is_not_in_the_picture() -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    for side in (20, 60, 300):
        found = decode(encoded(picture(side, side), "PNG", exif=exif.tobytes()))
        assert not Image.open(io.BytesIO(found.thumbnail)).getexif()


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (97, 3)])
def test_odd_shapes_have_thumbnails(size: tuple[int, int]) -> None:
    thumbnail = Image.open(io.BytesIO(decode(encoded(picture(*size), "PNG")).thumbnail))
    assert 1 <= min(thumbnail.size) <= max(thumbnail.size) <= 96


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    upright = picture()
    back = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]
    stored = upright
    for operation in back:
        stored = stored.transpose(Image.Transpose(operation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(stored, "PNG", exif=exif.tobytes()))
    assert (found.width, found.height) == upright.size
    assert found.pixels_sha256 == decode(encoded(upright, "PNG")).pixels_sha256


def test_same_pixels_in_another_file_have_the_same_digest() -> None:
    lossless = decode(encoded(picture(), "WEBP", lossless=True))
    assert lossless.pixels_sha256 == decode(encoded(picture(), "PNG", compress_level=1)).pixels_sha256


FILES = {
    "PNG": encoded(picture(200, 150), "PNG"),
    "PNG of a digit": DIGIT,
    "PNG of two frames": encoded(picture(), "PNG", save_all=True, append_images=[picture().rotate(90)]),
    "JPEG": encoded(picture(200, 150), "JPEG"),
    "progressive JPEG": encoded(picture(200, 150), "JPEG", progressive=True),
    "lossy WebP": encoded(picture(200, 150), "WEBP"),
    "lossless WebP": encoded(picture(61, 41), "WEBP", lossless=True),
    "AVIF": encoded(picture(200, 150), "AVIF"),
    "HEIC": HEIC,
    "GIF": encoded(picture(200, 150), "GIF"),
    "GIF of two frames": encoded(picture(), "GIF", save_all=True, append_images=[picture().rotate(90)]),
    "BMP": encoded(picture(), "BMP"),
    "TIFF": encoded(picture(), "TIFF"),
    "deflated TIFF": encoded(picture(200, 150), "TIFF", compression="tiff_deflate"),
    "BigTIFF": encoded(picture(), "TIFF", big_tiff=True),
}


@pytest.mark.parametrize("name", FILES)
@given(st.data())
def test_every_truncation_is_refused(name: str, data: st.DataObject) -> None:
    whole = FILES[name]
    size = data.draw(st.integers(18, len(whole) - 1), "size")  # from where all formats are known
    assert reason_of(whole[:size]) == "truncated"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("lacking", [1, 2, 3, 4, 8, 12])
def test_file_that_lacks_only_its_last_bytes_is_truncated(name: str, lacking: int) -> None:
    assert reason_of(FILES[name][:-lacking]) == "truncated"
    assert decode(FILES[name] + b"more behind the end").width


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>hello", "unsupported-type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported-type"),
        (encoded(picture(), "PPM"), "unsupported-type"),
        (b"BMW is no bitmap, whatever it begins with", "unsupported-type"),
        (b"\x00\x00\x00\x18ftypisom" + bytes(100), "unsupported-type"),
        (encoded(picture(), "TIFF", tiffinfo={254: 1}), "unsupported-type"),
        (DIGIT + bytes(IMAGE_SIZE_BYTES_MAX), "too-large"),
        (png_of_size(7100, 7100), "too-many-pixels"),
        (png_of_size(2**31 - 1, 2**31 - 1), "too-many-pixels"),
        (png_of_size(0, 5), "corrupt"),
        (png_of_size(100, 100), "corrupt"),
        (b"\x89PNG\r\n\x1a\n" + png_chunk(b"IEND", b""), "corrupt"),
        (b"\xff\xd8" + b"\xff\xda\x00\x02" * 100 + b"\xff\xd9", "too-many-scans"),
        (b"\xff\xd8\xff" + b"<html>" * 100 + b"\xff\xd9", "corrupt"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_bytes_have_their_reason(value: bytes, reason: str) -> None:
    assert reason_of(value) == reason


@pytest.mark.parametrize("name", FILES)
def test_what_is_said_of_damaged_bytes_is_always_the_same(name: str) -> None:
    """And so tells no addresses in memory. A detail is stored, and shown to whoever asks."""
    value = FILES[name]
    for kept in (8, 12, 16, 24, 40):
        damaged = value[:kept] + bytes(len(value) - kept)
        said = [str(error) for error in (refused(damaged) for _ in range(2)) if error]
        assert len(set(said)) <= 1
        assert not [detail for detail in said if " at 0x" in detail]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("cannot read <_io.BytesIO object at 0x7fcdeadecfe0> any more"), "cannot read the file any more"),
        (EOFError(), "EOFError"),
    ],
)
def test_what_decoders_say_is_shown_without_addresses(error: Exception, said: str) -> None:
    assert images._said(error) == said


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_picture_that_lacks_its_end_is_taken_where_that_is_allowed(kind: str) -> None:
    whole = encoded(picture(200, 150), kind)
    found = decode(whole[: len(whole) * 3 // 4], accept_truncated=True)
    assert (found.width, found.height, found.is_truncated) == (200, 150, True)
    seen, meant = (np.asarray(image.convert("RGB"), int)[:60] for image in (found.image, decode(whole).image))
    assert np.abs(seen - meant).mean() < 2
    assert not decode(whole, accept_truncated=True).is_truncated


def test_a_picture_of_another_size_than_its_file_states_is_corrupt() -> None:
    """A clean aperture that lies beside the picture: what is left of it is smaller than stated."""
    at = HEIC.index(b"clap") + 23
    value = HEIC[:at] + bytes([HEIC[at] ^ 64]) + HEIC[at + 1 :]
    assert (HEIC[at], value[at]) == (0xFC, 0xBC)
    with pytest.raises(RejectedError, match="states 60 x 40 pixels and holds 28 x 40") as refused:
        decode(value)
    assert refused.value.reason == "corrupt"


@pytest.mark.parametrize("name", ["lossy WebP", "AVIF", "HEIC", "GIF", "BMP", "TIFF"])
def test_other_formats_that_lack_their_end_are_never_taken(name: str) -> None:
    with pytest.raises(RejectedError) as refused:
        decode(FILES[name][: len(FILES[name]) // 2], accept_truncated=True)
    assert refused.value.reason == "truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_picture_of_which_nothing_can_be_seen_is_truncated(kind: str) -> None:
    with pytest.raises(RejectedError) as refused:
        decode(encoded(picture(200, 150), kind)[:60], accept_truncated=True)
    assert refused.value.reason == "truncated"


def test_large_picture_is_reduced_only_where_that_is_allowed_and_its_digest_stays() -> None:
    value = encoded(picture(200, 150), "PNG")
    whole, reduced, kept = decode(value), decode(value, picture_side_px=50), decode(value, picture_side_px=76)
    assert (whole.image.size, reduced.image.size, kept.image.size) == ((200, 150), (67, 50), (200, 150))
    assert (reduced.width, reduced.height, reduced.pixels_sha256) == (200, 150, whole.pixels_sha256)


def test_scans_of_an_embedded_preview_do_not_count() -> None:
    preview = b"\xff\xe1" + struct.pack(">H", 2 + 200) + b"\xff\xda" * 100
    value = encoded(picture(), "JPEG")
    assert decode(value[:2] + preview + value[2:]).pixels_sha256 == decode(value).pixels_sha256


ALTERED = ("JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_altered_bytes_are_decoded_or_refused_but_never_crash(data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from([DIGIT, *(encoded(picture(), kind) for kind in ALTERED), HEIC])))
    for _ in range(data.draw(st.integers(1, 5))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    outcomes = set()
    for _ in range(2):
        try:
            outcomes.add(decode(bytes(value)).pixels_sha256)
        except RejectedError as error:
            outcomes.add(error.reason.encode())
    assert len(outcomes) == 1
