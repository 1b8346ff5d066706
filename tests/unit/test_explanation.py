"""What was done to a digit is named, with its amount; what was not done is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model import mnist
from model.training.alterations import ALTERATIONS
from model.training.single_edits import SINGLE_EDITS, is_amount_right
from model.verdicts.digits import edits
from model.verdicts.digits.explanation import explain_digit
from model.verdicts.frames import Explained

DIGITS = mnist.images("test")
COPIES = 20


def altered(name: str, number: int) -> tuple[Explained, float]:
    """What is said of a digit to which one edit was done, and the amount that was done."""
    edited = SINGLE_EDITS[name](Image.fromarray(DIGITS[number]), np.random.default_rng([7, number]))
    return explain_digit(np.asarray(edited.image), DIGITS[number]), edited.amount


@pytest.mark.parametrize("name", SINGLE_EDITS)
def test_one_edit_is_named_with_its_amount(name: str) -> None:
    right = 0
    for number in range(COPIES):
        told, amount = altered(name, number)
        right += [edit.name for edit in told.edits] == [name] and is_amount_right(name, told.edits[0].amount, amount)
    assert right >= 0.9 * COPIES


@given(number=st.integers(0, 9999))
@settings(max_examples=30, deadline=None)
def test_an_image_has_the_same_pixels_as_itself(number: int) -> None:
    told = explain_digit(DIGITS[number], DIGITS[number])
    assert (told.verdict, told.edits, told.residual, told.confidence) == ("same pixels", [], 0, 1)
    assert np.array_equal(told.alignment, np.eye(3))


@given(number=st.integers(0, 9999), angle_deg=st.floats(5, 20), scale=st.sampled_from([1.0, 0.85, 1.15]))
@settings(max_examples=30, deadline=None)
def test_the_alignment_undoes_what_was_done(number: int, angle_deg: float, scale: float) -> None:
    """Corners of the query land within a pixel of where they were in the match."""
    match = DIGITS[number]
    moved = Image.fromarray(match).rotate(angle_deg, Image.Resampling.BICUBIC) if scale == 1 else None
    if moved is None:
        side = round(28 * scale)
        moved = Image.fromarray(match).resize((side, side), Image.Resampling.BICUBIC)
    told = explain_digit(np.asarray(moved), match)
    if not told.alignment:  # a one that is turned is often another one
        assert told.verdict == "similar"
        return
    angle = np.radians(angle_deg if scale == 1 else 0)
    middle = 13.5
    for x, y in ((6, 6), (20, 6), (13, 20)):
        if scale == 1:
            place = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ [
                x - middle,
                y - middle,
            ]
            query = [*(place + middle), 1]
        else:
            query = [(x + 0.5) * moved.width / 28 - 0.5, (y + 0.5) * moved.height / 28 - 0.5, 1]
        assert np.hypot(*(np.array(told.alignment) @ query - [x, y, 1])[:2]) < 1


def test_several_edits_at_once_are_a_copy() -> None:
    random = np.random.default_rng(3)
    told = [explain_digit(np.asarray(ALTERATIONS["mild"](Image.fromarray(d), random)), d) for d in DIGITS[:40]]
    assert sum(each.verdict == "altered copy" for each in told) >= 32
    assert all("inversion" in [edit.name for edit in each.edits] for each in told if each.edits)


def test_other_digits_are_only_similar() -> None:
    """Of the same class, which is what a search finds."""
    labels = mnist.labels("test")
    same_class = [np.flatnonzero(labels == label)[:25] for label in range(10)]
    told = [explain_digit(DIGITS[group[0]], DIGITS[other]) for group in same_class for other in group[1:]]
    assert sum(each.verdict != "similar" for each in told) <= 2
    assert all(not each.alignment and not each.edits for each in told if each.verdict == "similar")


@pytest.mark.parametrize("shape", [(1, 1), (1, 28), (7, 40), (28, 28), (96, 60)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_pictures_that_show_nothing_are_explained_as_similar(shape: tuple[int, int], grey: int) -> None:
    blank: NDArray[np.uint8] = np.full(shape, grey, np.uint8)
    for query, match in ((blank, DIGITS[0]), (DIGITS[0], blank), (blank, np.full((20, 20), 7, np.uint8))):
        assert explain_digit(query, match).verdict == "similar"


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_two_pictures_get_a_verdict(data: st.DataObject) -> None:
    shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
    pictures = []
    for _ in range(2):
        random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        shape = data.draw(shapes)
        smooth = Image.fromarray(random.integers(0, 256, (3, 3), np.uint8)).resize(
            shape[::-1], Image.Resampling.BICUBIC
        )
        noise = random.integers(0, 256, shape, np.uint8)
        pictures.append(data.draw(st.sampled_from([noise, np.asarray(smooth), noise // 128 * 255])))
    told = explain_digit(*pictures)
    assert 0 <= told.confidence <= 1
    assert np.isfinite(told.residual)
    assert np.isfinite(told.alignment).all()
    assert all(np.isfinite(edit.amount) for edit in told.edits)


def test_amounts_are_in_pixels_of_the_pictures_themselves() -> None:
    told = explain_digit(np.roll(DIGITS[3], 2, 1), DIGITS[3], query_px=10, match_px=10)
    assert [edit.name for edit in told.edits] == ["shift"]
    assert told.edits[0].amount == pytest.approx(20)
    assert np.array(told.alignment) @ [100, 50, 1] == pytest.approx([80, 50, 1])


def test_noise_that_is_cut_at_black_and_white_is_measured_as_what_it_was() -> None:
    random = np.random.default_rng(1)
    plain = DIGITS[2].astype(np.float32) / np.float32(255)
    for deviation in (0.05, 0.1, 0.25):
        noisy = np.clip(plain + random.normal(0, deviation, plain.shape), 0, 1).astype(np.float32)
        assert edits.fit_noise(plain, noisy)[0] == pytest.approx(deviation, rel=0.1)
