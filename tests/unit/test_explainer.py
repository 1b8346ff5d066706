"""The explainer child: pictures larger than a thumbnail, and what it cannot read."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from contract.errors import DependencyError
from model import mnist
from model.pictures.images import decode
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Explained, Shown


def picture(seed: int, width: int = 600, height: int = 400) -> Image.Image:
    """A smooth picture with details, in colour."""
    random = np.random.default_rng(seed)
    sum_of_scales = np.zeros((height, width, 3))
    for rows, weight in ((4, 80), (12, 50), (40, 22), (100, 8)):
        noise = Image.fromarray(random.integers(0, 256, (rows, rows * 3 // 2, 3), np.uint8))
        sum_of_scales += weight * np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), float) / 160
    grey = sum_of_scales.mean(2, keepdims=True)
    return Image.fromarray(np.uint8(np.clip(0.75 * grey + 0.25 * sum_of_scales, 0, 255)))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def sent(image: Image.Image) -> Shown:
    return Shown(png(image), *image.size)


def stored(image: Image.Image) -> Shown:
    return Shown(decode(png(image)).thumbnail, *image.size)


@pytest.fixture(scope="module")
def explainer() -> Iterator[Explainer]:
    explainer = Explainer()
    yield explainer
    explainer.close()


def told_of(explainer: Explainer, query: Shown, match: Shown) -> Explained:
    told = explainer.explanations(query, [match])
    assert told is not None
    return told[0]


@pytest.mark.parametrize(
    ("altered", "name", "amount"),
    [
        (lambda image: image.resize((300, 200)), "scale", 0.5),
        (lambda image: image.crop((30, 20, 570, 380)), "crop", 0.1),
        (lambda image: image.rotate(7, Image.Resampling.BICUBIC), "rotation", 7),
        (ImageOps.invert, "inversion", 1),
    ],
)
def test_copies_of_large_pictures_are_explained_in_their_own_pixels(
    explainer: Explainer, altered: object, name: str, amount: float
) -> None:
    assert callable(altered)
    original = picture(1)
    told = told_of(explainer, sent(altered(original)), stored(original))
    assert told.verdict == "altered copy"
    assert [edit[0] for edit in told.edits] == [name]
    assert told.edits[0][1] == pytest.approx(amount, rel=0.05)


def test_the_middle_of_a_cropped_picture_is_found_in_the_original(explainer: Explainer) -> None:
    original = picture(2)
    told = told_of(explainer, sent(original.crop((30, 20, 570, 380))), stored(original))
    assert np.array(told.alignment) @ [269.5, 179.5, 1] == pytest.approx([299.5, 199.5, 1], abs=5)


def test_other_pictures_are_similar(explainer: Explainer) -> None:
    told = explainer.explanations(sent(picture(3)), [stored(picture(seed)) for seed in range(4, 12)])
    assert told is not None
    assert {each.verdict for each in told} == {"similar"}


def test_what_cannot_be_read_gets_no_verdict_and_does_no_harm(explainer: Explainer) -> None:
    digit = Shown(mnist.png(mnist.images("test")[0]), 28, 28)
    broken = Shown(digit.image[:40], 28, 28)  # its size, and no pixel
    assert explainer.explanations(broken, [digit, digit]) == [Explained("", [], [], 0, 0)] * 2
    told = explainer.explanations(digit, [broken, digit])
    assert told is not None
    assert [each.verdict for each in told] == ["", "same pixels"]


def test_a_child_that_is_out_of_memory_or_time_is_given_up_and_replaced() -> None:
    digit = Shown(mnist.png(mnist.images("test")[0]), 28, 28)
    large = Shown(png(Image.new("RGB", (4900, 4900))), 4900, 4900)
    explainer = Explainer(cpu_limit_s=0.02)
    try:
        assert explainer.explanations(large, [digit]) is None
    finally:
        explainer.close()


def test_an_explainer_that_cannot_start_says_so_and_not_that_the_decoder_cannot() -> None:
    explainer = Explainer(memory_limit_bytes=2**80)  # more than any limit can say
    digit = Shown(mnist.png(mnist.images("test")[0]), 28, 28)
    with pytest.raises(DependencyError, match="The explainer child ended with status") as failed:
        explainer.explanations(digit, [digit])
    assert failed.value.dependency == "explainer"
