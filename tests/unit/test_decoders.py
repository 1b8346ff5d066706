"""Several decoder children: the same answers as one gives, and no more children than are worth it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from PIL import Image

from contract.errors import DependencyError
from model import mnist
from model.pictures import decoders as module
from model.pictures.decoder import Decoder
from model.pictures.decoders import Decoders
from tests.decoders import decoders_of
from tests.unit.test_images import DIGIT, encoded

ENCODER = "report-autoencoder"


def opened(memory_limit_bytes: int | None) -> Decoder:
    return Decoder(ENCODER, memory_limit_bytes=memory_limit_bytes)


@pytest.fixture
def two() -> Iterator[Decoders]:
    decoders = Decoders(opened, 2)
    yield decoders
    decoders.close()


@pytest.fixture
def alone() -> Iterator[Decoder]:
    decoder = Decoder(ENCODER)
    yield decoder
    decoder.close()


def children() -> int:
    return len(decoders_of(psutil.Process()))


def test_costly_images_are_shared_out_and_answered_in_their_order(
    two: Decoders, alone: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COSTLY_S", 1e-9)
    monkeypatch.setattr(module, "HELPER_IMAGE_SIZE_BYTES_MAX", 600)
    values = [mnist.png(image) for image in mnist.images("test")[:60]]
    values[5:5] = [b"%PDF-1.7", DIGIT[:-30], encoded(Image.new("RGB", (300, 200), "red"), "BMP"), b""]
    expected = alone.decode(values).images
    before = children()
    for _ in range(3):
        assert two.decode(values).images == expected
    assert children() == before + 2


def test_cheap_images_start_no_second_child(two: Decoders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COSTLY_S", 10.0)  # a busy machine takes longer for digits, too
    before = children()
    for _ in range(3):
        two.decode([DIGIT] * 50)
    assert children() == before + 1


def test_cheap_images_start_no_second_child_where_the_first_one_gets_no_processor(two: Decoders) -> None:
    others = decoders_of(psutil.Process())
    two.decode([DIGIT])
    (first,) = decoders_of(psutil.Process()).keys() - others.keys()
    with ThreadPoolExecutor(1) as pool:
        first.suspend()
        answer = pool.submit(two.decode, [DIGIT] * 100)
        with pytest.raises(TimeoutError):
            answer.result(timeout=1.0)
        first.resume()
        answer.result(timeout=60)
    two.decode([DIGIT] * 50)
    assert decoders_of(psutil.Process()).keys() - others.keys() == {first}


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])  # Pillow says that a WebP is damaged when it lacks memory for it
def test_an_image_that_is_too_much_for_a_helper_is_decoded_by_the_first_child(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COSTLY_S", 1e-9)
    monkeypatch.setattr(module, "HELPER_MEMORY_LIMIT_BYTES", 260 * 1024**2)
    costly = encoded(Image.new("RGB", (4900, 5000)), kind)
    two = Decoders(opened, 2)
    try:
        two.decode([DIGIT])
        # Whoever takes the first part, the helper takes one of these.
        assert [image.reason for image in two.decode([costly] * 2).images] == [""] * 2
    finally:
        two.close()


def test_a_child_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COSTLY_S", 1e-9)
    names = [ENCODER, "no-such-encoder"]
    two = Decoders(lambda _: Decoder(names.pop(0)), 2)
    try:
        two.decode([DIGIT])
        with pytest.raises(DependencyError):
            two.decode([DIGIT] * 2)
    finally:
        two.close()
