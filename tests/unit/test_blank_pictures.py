"""Pictures that show nothing, or nearly nothing, have embeddings like any other."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError
from gallery.nearest.neighbours import build_neighbours
from model.encoder import Encoder, encoder_names, load_encoder
from model.pictures.decoder import Decoded, Decoder, DecoderAnswer
from model.soundness import check_embeddings, hard_pictures

ENCODERS = {name: load_encoder(name) for name in encoder_names()}
COLOURS = st.tuples(*[st.integers(0, 255)] * 4)
SIDES = st.one_of(st.sampled_from([1, 2, 27, 28, 29, 96, 300]), st.integers(1, 400))


@st.composite
def constant_pictures(draw: st.DrawFn) -> Image.Image:
    """One colour, perhaps with a few pixels of another or a trace of noise, in any mode and shape."""
    mode = draw(st.sampled_from(["L", "RGB", "RGBA"]))
    size = draw(SIDES), draw(SIDES)
    image = Image.new("RGBA", size, draw(COLOURS))
    for _ in range(draw(st.integers(0, 3))):
        image.putpixel((draw(st.integers(0, size[0] - 1)), draw(st.integers(0, size[1] - 1))), draw(COLOURS))
    if draw(st.booleans()):
        noise = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 2, (*size[::-1], 4), np.uint8)
        image = Image.fromarray(np.minimum(np.asarray(image), 254) + noise)
    return image.convert(mode)


@pytest.mark.parametrize("name", ENCODERS)
@settings(max_examples=150, deadline=None)
@given(image=constant_pictures())
def test_every_picture_has_an_embedding_of_finite_numbers(name: str, image: Image.Image) -> None:
    encoder = ENCODERS[name]
    embedding = encoder.embed(encoder.pixels(image))
    assert embedding.shape == (encoder.dimensions,)
    assert np.isfinite(embedding).all()


@pytest.mark.parametrize("name", ENCODERS)
def test_blank_pictures_find_each_other_first_and_the_rest_at_a_finite_distance(name: str) -> None:
    encoder = ENCODERS[name]
    blank = {
        "white": Image.new("L", (28, 28), 255),
        "red": Image.new("RGB", (60, 40), "red"),
        "transparent": Image.new("RGBA", (33, 90)),
    }
    embeddings = np.stack(
        [encoder.embed(encoder.pixels(image)) for image in [*blank.values(), *hard_pictures().values()]]
    )
    neighbours = build_neighbours(embeddings)
    for row in range(len(embeddings)):
        distances, rows = neighbours.nearest(embeddings[row], len(embeddings), np.ones(len(embeddings), np.bool_))
        assert len(rows) == len(embeddings) and distances[0] == 0 and row in rows[distances == 0]
        assert np.isfinite(distances).all()


class LyingDecoder(Decoder):
    """A decoder whose child answers with embeddings of its own."""

    embeddings: Sequence[bytes] = ()

    def _call(self, question: object, answer: type) -> DecoderAnswer:  # type: ignore[override]
        return DecoderAnswer([Decoded("", "", embedding, "image/png", 28, 28) for embedding in self.embeddings])


def test_embedding_that_the_index_cannot_hold_is_refused() -> None:
    decoder = LyingDecoder("contrast")
    good = np.ones(128, "<f4")
    bad = np.where(np.arange(128) == 5, np.float32(np.nan), good), good * np.float32(np.inf), good[:127], good[:0]
    decoder.embeddings = [good.tobytes(), *(np.asarray(each, "<f4").tobytes() for each in bad)]
    verdicts = decoder.decode([b"image"] * 5).images
    assert [verdict.reason for verdict in verdicts] == ["", *["encoder-failed"] * 4]
    assert verdicts[0].embedding == good.tobytes()
    assert all(not verdict.embedding for verdict in verdicts[1:])


class Dividing(Encoder):
    """An encoder that divides by the sum of its pixels' deviations."""

    def embed(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        with np.errstate(all="ignore"):
            return np.ones(128, np.float32) / np.float32(np.ptp(pixels))


@pytest.mark.parametrize("name", ENCODERS)
def test_committed_encoders_are_sound(name: str) -> None:
    check_embeddings(ENCODERS[name])


def test_encoder_that_divides_by_nothing_is_not_exported() -> None:
    with pytest.raises(ConfigurationError, match=r"not finite.*white"):
        check_embeddings(Dividing(ENCODERS["contrast"].folder))
