"""The encoder for photographs: any picture goes in, its altered copies come out nearest."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_sample_images

from model.encoder import load_encoder
from model.training.evaluate import encoder_embed, nearest_rows

ENCODER = load_encoder("photo")
TILE_PX = 160


def tiles() -> list[Image.Image]:
    """Pieces of two photographs that do not overlap, each a picture of its own."""
    found = []
    for photograph in map(Image.fromarray, load_sample_images().images):
        for top in range(0, photograph.height - TILE_PX + 1, TILE_PX):
            for left in range(0, photograph.width - TILE_PX + 1, TILE_PX):
                found.append(photograph.crop((left, top, left + TILE_PX, top + TILE_PX)))
    return found


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda image: jpeg(image, 15),
    "grey": ImageOps.grayscale,
    "mirrored": ImageOps.mirror,
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.5),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "cropped": lambda image: image.crop((12, 12, TILE_PX - 12, TILE_PX - 12)),
    "squeezed": lambda image: image.resize((TILE_PX, TILE_PX // 2)),
    "bordered": lambda image: ImageOps.expand(image, 16, "white"),
    "negative": ImageOps.invert,
}


@pytest.fixture(scope="module")
def gallery() -> NDArray[np.float32]:
    return encoder_embed(ENCODER)(tiles())


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_altered_copies_find_their_photograph_first(
    gallery: NDArray[np.float32], edit: Callable[[Image.Image], Image.Image]
) -> None:
    found = nearest_rows(gallery, encoder_embed(ENCODER)(map(edit, tiles())), 1)[:, 0]
    assert (found == np.arange(len(gallery))).mean() >= 0.9


def test_pieces_of_one_photograph_are_alike(gallery: NDArray[np.float32]) -> None:
    of = np.arange(len(gallery)) >= len(gallery) // 2
    beside_itself = nearest_rows(gallery, gallery, 4)[:, 1:]
    assert (of[beside_itself] == of[:, None]).mean() >= 0.8


def test_transparent_shows_white() -> None:
    assert (ENCODER.pixels(Image.new("RGBA", (30, 40))) == 255).all()


def test_file_is_small_and_its_card_says_what_it_was_made_of() -> None:
    assert (ENCODER.folder / "encoder.tflite").stat().st_size <= 16_000_000
    assert ENCODER.dimensions <= 256
    assert ENCODER.card["begun_with"]["licence"] == "Apache-2.0"
    assert all("CC" in credit or "free" in credit for credit in ENCODER.card["photographs"])
