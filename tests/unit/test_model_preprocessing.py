"""Encoders see the digit, whatever picture it is in."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model import mnist
from model.encoder import Encoder, encoder_names, load_encoder
from model.training.evaluate import encoder_embed, nearest_rows
from tests.photographs import photograph

ENCODER = load_encoder("report-autoencoder")
DIGITS = mnist.images("test")[:40]

Depiction = Callable[[NDArray[np.uint8], int], Image.Image]


def drawing(digit: NDArray[np.uint8], _: int) -> Image.Image:
    large = Image.fromarray(digit).resize((400, 400), Image.Resampling.BICUBIC)
    return large.point(lambda brightness: 0 if brightness > 127 else 255).convert("RGB")


def transparent(digit: NDArray[np.uint8], _: int) -> Image.Image:
    """Black ink and nothing behind it."""
    ink = Image.fromarray(digit).resize((112, 112), Image.Resampling.BICUBIC)
    return Image.merge("RGBA", [Image.new("L", ink.size)] * 3 + [ink])


DEPICTIONS: dict[str, Depiction] = {
    "photograph": photograph,
    "small photograph": lambda digit, seed: photograph(digit, seed, side_px=300),
    "chalk": lambda digit, seed: photograph(digit, seed, is_chalk=True),
    "drawing": drawing,
    "transparent": transparent,
    "enlarged": lambda digit, _: Image.fromarray(digit).resize((56, 56), Image.Resampling.BICUBIC),
    "cropped": lambda digit, _: Image.fromarray(digit[2:-2, 2:-2]),
}


@pytest.fixture(scope="module", params=[name for name in encoder_names() if load_encoder(name).card["knows_drawings"]])
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return load_encoder(request.param)


@pytest.fixture(scope="module")
def gallery(encoder: Encoder) -> NDArray[np.float32]:
    return encoder_embed(encoder)(map(Image.fromarray, mnist.images("train")[:10000]))


@pytest.mark.parametrize("depiction", DEPICTIONS.values(), ids=DEPICTIONS)
def test_depicted_digit_finds_its_label(encoder: Encoder, gallery: NDArray[np.float32], depiction: Depiction) -> None:
    embeddings = encoder_embed(encoder)(depiction(digit, seed) for seed, digit in enumerate(DIGITS))
    found = mnist.labels("train")[nearest_rows(gallery, embeddings, 10)]
    assert (found == mnist.labels("test")[: len(DIGITS), None]).mean() >= 0.85


def test_mnist_images_are_taken_as_they_are() -> None:
    for digit, expected in zip(DIGITS, mnist.pixels("test")[: len(DIGITS)], strict=True):
        assert (ENCODER.pixels(Image.fromarray(digit)) == expected).all()
        assert (ENCODER.pixels(Image.fromarray(digit).convert("RGB")) == expected).all()


def test_dark_digit_on_bright_paper_gives_the_pixels_of_the_digit() -> None:
    for digit, expected in zip(DIGITS, mnist.pixels("test")[: len(DIGITS)], strict=True):
        assert (ENCODER.pixels(Image.fromarray(255 - digit)) == expected).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (2, 2), (28, 28), (400, 30), (1000, 1000)])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize(
    ("name", "shape", "brightest"), [("report-autoencoder", (28, 28, 1), 1), ("photo", (224, 224, 3), 255)]
)
def test_any_picture_gives_pixels_in_range(
    name: str, shape: tuple[int, ...], brightest: float, size: tuple[int, int], mode: str
) -> None:
    encoder = load_encoder(name)
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), np.uint8)
    for image in (Image.fromarray(noise).convert(mode), Image.new(mode, size), Image.new(mode, size, "white")):
        pixels = encoder.pixels(image)
        assert pixels.shape == shape
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() <= pixels.max() <= brightest


def test_blank_paper_is_blank() -> None:
    assert ENCODER.pixels(Image.new("L", (300, 200), 230)).max() == 0
