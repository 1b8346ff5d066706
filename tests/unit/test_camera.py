"""Camera facts: what is safe to show comes out as it was written, and nothing else does, whatever the file holds."""

import io
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pi_heif import register_heif_opener
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from model.pictures.camera import Camera, CameraReader
from model.pictures.camera_program import TEXT_LENGTH_MAX, camera_of

WHOLE = Camera(
    make="Canon",
    model="Canon EOS R5",
    lens="RF 50mm",
    software="Darkroom 4",
    taken_at="2024-05-01T12:30:59+02:00",
    exposure_s=0.005,
    f_number=1.8,
    iso=400,
    focal_length_mm=50.0,
    focal_length_35mm=50.0,
    orientation=6,
)
SECRETS = (b"0123456789", b"Ann Owner", b"Ann Artist", b"maker's note", b"Ann Copyright")


def exif() -> Image.Exif:
    """Facts of every kind, also those that are nobody's business."""
    made = Image.Exif()
    made[0x010F], made[0x0110], made[0x0112], made[0x0131] = "Canon", "Canon EOS R5", 6, "Darkroom 4"
    made[0x013B], made[0x8298] = "Ann Artist", "Ann Copyright"
    details = made.get_ifd(0x8769)
    details[0x829A], details[0x829D], details[0x8827] = IFDRational(1, 200), IFDRational(18, 10), 400
    details[0x9003], details[0x9011] = "2024:05:01 12:30:59", "+02:00"
    details[0x920A], details[0xA405], details[0xA434] = IFDRational(50), 50, "RF 50mm"
    details[0xA431], details[0xA430], details[0x927C] = "0123456789", "Ann Owner", b"maker's note"
    place = made.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "S", (33.0, 51.0, 36.0), "E", (151.0, 12.0, 0.0)
    return made


def file_with(made: Image.Exif, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    if kind == "TIFF":  # Pillow writes other parts of it only from here
        made[0x8769] = dict(made.get_ifd(0x8769))
    Image.linear_gradient("L").convert("RGB").save(buffer, kind, exif=made)
    return buffer.getvalue()


WHOLE_FILE = file_with(exif())


def jpeg_of(tag: int, value: object, part: int = 0x8769) -> bytes:
    made = Image.Exif()
    made.get_ifd(part)[tag] = value
    return file_with(made)


@pytest.fixture(scope="module")
def reader() -> Iterator[CameraReader]:
    made = CameraReader()
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_facts_come_out_of_every_format_without_secrets_and_place(reader: CameraReader, kind: str) -> None:
    register_heif_opener()
    value = file_with(exif(), kind)
    assert any(secret in value for secret in SECRETS)
    assert reader.read(value) == WHOLE
    told = repr(reader.read(value)).encode()
    assert not any(secret in told for secret in SECRETS)


def test_the_place_comes_only_where_it_is_wanted(reader: CameraReader) -> None:
    found = reader.read(file_with(exif()), with_place=True)
    assert found is not None and found.place == (-33.86, 151.2)


def test_a_file_without_facts_has_none(reader: CameraReader) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "PNG")
    assert reader.read(buffer.getvalue()) is None
    assert reader.read(b"") is None
    assert reader.read(b"Exif and nothing more") is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"Nikon\0\0\0hidden", "Nikon"),
        ("a\u202eb\u200bc\x07d\n e".encode(), "a b c d e"),
        (b"x" * 40_000, "x" * TEXT_LENGTH_MAX),
        (b"   ", ""),
        (b"<img src=x>", "<img src=x>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_texts_are_cleaned_and_bounded(text: bytes, shown: str) -> None:
    """Written as bytes of no known type, which cameras do too."""
    assert camera_of(jpeg_of(0xA434, text), with_place=False).lens == shown


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (0x829A, IFDRational(1, 0)),
        (0x829A, IFDRational(0, 0)),
        (0x829D, IFDRational(0, 1)),
        (0x8827, 0),
        (0x9003, "0000:00:00 00:00:00"),
        (0x9003, "2024:13:01 12:00:00"),
        (0x9003, "yesterday"),
        (0x9003, "2024:05:01 12:30:59 <script>"),
    ],
)
def test_what_is_no_fact_is_left_out(tag: int, value: object) -> None:
    assert camera_of(jpeg_of(tag, value), with_place=True) == Camera()


@pytest.mark.parametrize("degrees", [(91.0, 0.0, 0.0), (IFDRational(1, 0), 0.0, 0.0), (1.0, 2.0)])
def test_a_place_that_is_none_is_left_out(degrees: tuple[float, ...]) -> None:
    made = exif()
    made.get_ifd(0x8825)[2] = degrees
    assert camera_of(file_with(made), with_place=True).place is None


@given(st.lists(st.tuples(st.integers(20, 900), st.integers(0, 255)), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_damage_anywhere_never_shows_more_or_fails(changes: list[tuple[int, int]]) -> None:
    """Bytes of the facts changed at will: what comes out is a Camera whose texts are clean and whose numbers are sound."""
    value = bytearray(WHOLE_FILE)
    for at, byte in changes:
        value[at] = byte
    found = camera_of(bytes(value), with_place=False)
    assert found.place is None
    for text in (found.make, found.model, found.lens, found.software, found.taken_at):
        assert len(text) <= TEXT_LENGTH_MAX and (text.isprintable() or not text)
    for number in (found.exposure_s, found.f_number, found.iso, found.focal_length_mm, found.focal_length_35mm):
        assert number is None or 0 < number <= 1e7


def test_a_file_that_ends_the_child_has_no_facts_and_the_next_one_has() -> None:
    reader = CameraReader(cpu_limit_s=0.001)
    try:
        loop = io.BytesIO()
        Image.new("RGB", (6000, 6000)).save(loop, "PNG", compress_level=1)
        value = loop.getvalue().replace(b"IEND", b"eXIf") + b"IEND"  # looks for facts behind all pixels
        assert reader.read(value) is None
    finally:
        reader.close()
