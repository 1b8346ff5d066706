"""Bytes to pixels: every mode and orientation, and every kind of bad bytes has its stable reason."""

import io
import multiprocessing
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import RejectedError
from model import mnist
from model.child import Decoder
from model.encoder import load_encoder
from model.images import decode

DIGIT = mnist.png(mnist.images("test")[0])


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def picture(width: int = 60, height: int = 40) -> Image.Image:
    rows = np.linspace(0, 255, height)[:, None, None]
    columns = np.linspace(0, 255, width)[None, :, None]
    return Image.fromarray(np.uint8(np.clip(rows + columns * np.array([0.2, 0.5, 1.0]), 0, 255)))


def reason_of(value: bytes) -> str:
    with pytest.raises(RejectedError) as caught:
        decode(value)
    return caught.value.reason


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_size(width: int, height: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(100))) + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_decoded(kind: str) -> None:
    found = decode(encoded(picture(), kind))
    assert (found.media_type, found.width, found.height) == (f"image/{kind.lower()}", 60, 40)
    assert max(Image.open(io.BytesIO(found.thumbnail)).size) <= 96


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_png_mode_gives_pixels(mode: str) -> None:
    image = (
        Image.fromarray(np.uint16(np.arange(2400).reshape(40, 60) * 27)) if mode == "I;16" else picture().convert(mode)
    )
    found = decode(encoded(image, "PNG"))
    assert found.image.mode in ("L", "RGB", "RGBA")
    assert load_encoder("report-autoencoder").pixels(found.image).shape == (28, 28, 1)


def test_cmyk_and_transparent_palettes_are_decoded() -> None:
    assert decode(encoded(picture().convert("CMYK"), "JPEG")).image.mode == "RGB"
    palette = picture().convert("P")
    assert decode(encoded(palette, "PNG", transparency=0)).image.mode == "RGBA"


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


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_every_truncation_is_refused(kind: str) -> None:
    whole = encoded(picture(200, 150), kind)
    for size in range(12, len(whole) - 12, max(1, len(whole) // 60)):
        assert reason_of(whole[:size]) == "truncated", f"cut at {size} of {len(whole)}"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"<!doctype html><p>hello", "unsupported-type"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unsupported-type"),
        (encoded(picture(), "GIF"), "unsupported-type"),
        (encoded(picture(), "TIFF"), "unsupported-type"),
        (encoded(picture(), "BMP"), "unsupported-type"),
        (DIGIT + bytes(8 << 20), "too-large"),
        (png_of_size(5100, 5100), "too-many-pixels"),
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


def test_text_that_unpacks_to_megabytes_is_refused() -> None:
    bomb = png_chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(50_000_000)))
    assert reason_of(DIGIT[:33] + bomb + DIGIT[33:]) == "corrupt"


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_altered_bytes_are_decoded_or_refused_but_never_crash(data: st.DataObject) -> None:
    value = bytearray(data.draw(st.sampled_from([DIGIT, *(encoded(picture(), kind) for kind in ("JPEG", "WEBP"))])))
    for _ in range(data.draw(st.integers(1, 5))):
        value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    outcomes = set()
    for _ in range(2):
        try:
            outcomes.add(decode(bytes(value)).pixels_sha256)
        except RejectedError as error:
            outcomes.add(error.reason.encode())
    assert len(outcomes) == 1


def test_dark_digit_on_bright_paper_gives_the_pixels_of_the_digit() -> None:
    pixels = load_encoder("report-autoencoder").pixels
    digit = mnist.images("test")[0]
    assert np.allclose(pixels(Image.fromarray(255 - digit)), digit[..., None] / 255, atol=1e-6)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    opened = Decoder("report-autoencoder")
    yield opened
    opened.close()


def test_child_gives_one_verdict_an_image_in_order(decoder: Decoder) -> None:
    verdicts = decoder.verdicts([DIGIT, b"GIF89a", DIGIT[:-30], DIGIT]).verdicts
    assert [verdict.reason for verdict in verdicts] == ["", "unsupported-type", "truncated", ""]
    assert verdicts[0] == verdicts[3]
    expected = load_encoder("report-autoencoder").embed((mnist.images("test")[0][..., None] / 255).astype(np.float32))
    assert (np.frombuffer(verdicts[0].embedding, "<f4") == expected).all()


@pytest.mark.parametrize(
    ("limits", "reason"),
    [({"cpu_limit_s": 0.05}, "decoder-timeout"), ({"memory_limit_bytes": 280 * 1024**2}, "decoder-memory")],
)
def test_image_that_costs_too_much_is_refused_and_its_neighbours_are_not(limits: dict[str, int], reason: str) -> None:
    costly = encoded(Image.new("RGB", (4900, 5000)), "PNG")
    decoder = Decoder("report-autoencoder", **limits)  # type: ignore[arg-type]
    try:
        assert [verdict.reason for verdict in decoder.verdicts([DIGIT, costly, DIGIT]).verdicts] == ["", reason, ""]
    finally:
        decoder.close()


def test_child_that_is_killed_is_started_again(decoder: Decoder) -> None:
    assert decoder.verdicts([DIGIT]).verdicts[0].reason == ""
    child = next(process for process in multiprocessing.active_children() if process.name == "decoder")
    child.kill()
    child.join()
    assert decoder.verdicts([DIGIT]).verdicts[0].reason == ""


def test_largest_image_that_is_allowed_is_decoded_within_the_limits(decoder: Decoder) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (1000, 1000), np.uint8)
    largest = Image.fromarray(noise).resize((5000, 5000)).convert("RGB")
    assert decoder.verdicts([encoded(largest, "JPEG")]).verdicts[0].reason == ""
