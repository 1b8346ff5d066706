"""Altered copies of photos: the same for the same seed, each really altered, whatever the photo's size."""

from functools import cache

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from model.training.photo_evaluation.edits import EDITS, OTHERS, NamedEdit, edited_copy

NAMES = [edit.name for edit in EDITS]
BY_CHANCE = {
    "crop70",
    "hue",
    "noise",
    "text",
    "shot",
    "paste45",
    "collage",
    "screen",
    "persp20",
    "screenphoto",
    "chain4",
}


@cache
def photos() -> list[Image.Image]:
    """Two photographs, and two turned over, 320 x 214 RGB."""
    found = [Image.fromarray(pixels).reduce(2) for pixels in load_sample_images().images]
    return [*found, *(photo.transpose(Image.Transpose.FLIP_TOP_BOTTOM) for photo in found)]


@pytest.fixture(scope="module", params=EDITS, ids=NAMES)
def edit(request: pytest.FixtureRequest) -> NamedEdit:
    found: NamedEdit = request.param
    return found


def test_there_are_sixteen_easy_and_fifteen_hard_ones_with_names_of_their_own() -> None:
    groups = [edit.group for edit in EDITS]
    assert (groups.count("easy"), groups.count("hard"), len(set(NAMES))) == (16, 15, 31)


def test_a_copy_is_the_same_for_the_same_seed_and_differs_from_its_photo(edit: NamedEdit) -> None:
    photo, *others = photos()
    first, second = (edited_copy(photo, others, edit, b"photo", 1) for _ in range(2))
    assert first.mode == "RGB"
    assert (first.size, first.tobytes()) == (second.size, second.tobytes())
    assert first.size != photo.size or first.tobytes() != photo.tobytes()


def test_chance_is_another_one_for_another_seed_and_for_another_photo() -> None:
    photo, *others = photos()
    for edit in EDITS:
        if edit.name in BY_CHANCE:
            copies = {
                edited_copy(photo, others, edit, *chosen).tobytes() for chosen in ((b"a", 1), (b"a", 2), (b"b", 1))
            }
            assert len(copies) == 3, edit.name


def test_the_photo_itself_stays_as_it_was(edit: NamedEdit) -> None:
    photo, *others = photos()
    before = [each.tobytes() for each in (photo, *others)]
    edited_copy(photo, others, edit, b"photo", 1)
    assert [each.tobytes() for each in (photo, *others)] == before


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (700, 2), (13, 8)])
def test_photos_of_any_size_and_shape_can_be_altered(edit: NamedEdit, size: tuple[int, int]) -> None:
    photo = Image.fromarray(np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    for others in ([photo] * OTHERS, photos()[:OTHERS]):
        copy = edited_copy(photo, others, edit, b"small", 1)
        assert min(copy.size) >= 1 and copy.width * copy.height < 4_000_000


def test_a_copy_shows_as_many_photos_as_it_says() -> None:
    """Another photo at a place that the copy does not show changes nothing."""
    photo, *others = photos()
    white = Image.new("RGB", photo.size, "white")
    for edit in EDITS:
        copy = edited_copy(photo, others, edit, b"photo", 1)
        for place in range(OTHERS):
            changed = [white if which == place else other for which, other in enumerate(others)]
            is_shown = edited_copy(photo, changed, edit, b"photo", 1).tobytes() != copy.tobytes()
            assert is_shown == (place < edit.shown - 1), (edit.name, place)
