"""Verdicts on photographs: edits of known amounts are named, what only looks alike is similar, and their parts against brute force."""

from itertools import product

import msgspec
import numpy as np
import pytest
from PIL import Image

from model.training.photo_verdicts.edits import KNOWN_EDITS, is_right
from model.training.photo_verdicts.lookalikes import PLAIN, SHIFTED, plain
from model.training.photo_verdicts.measure import as_sent, explained, stored
from model.verdicts.frames import UNREADABLE, Explained, Shown
from model.verdicts.photographs import alignment, clipping, placing
from model.verdicts.photographs.features import features, seen_as
from model.verdicts.photographs.pair import PhotoQuery
from tests.scenes import scene

SIDE_PX = 256


def told(query: Image.Image, match: Image.Image) -> Explained:
    """As the child would send it."""
    said = explained(as_sent(query), stored(match, SIDE_PX))
    return msgspec.msgpack.decode(msgspec.msgpack.encode(said), type=Explained)


@pytest.mark.parametrize("name", KNOWN_EDITS)
def test_an_edit_is_named_with_its_amount(name: str) -> None:
    random = np.random.default_rng(5)
    right = 0
    for seed in (20, 21, 22):
        edited = KNOWN_EDITS[name](scene(seed), scene(seed + 10), random)
        said = told(edited.image, scene(seed))
        right += said.verdict == "altered copy" and is_right(edited, {edit: amount for edit, amount, _ in said.edits})
    assert right >= 2


@pytest.mark.parametrize("kind", SHIFTED)
def test_another_moment_or_part_of_a_scene_is_similar(kind: str) -> None:
    random = np.random.default_rng(6)
    pairs = [SHIFTED[kind](scene(seed), scene(seed + 10), random) for seed in (30, 31, 32)]
    assert [told(query, match).verdict for query, match in pairs] == ["similar"] * 3


def test_other_pictures_and_pictures_with_little_in_them_are_similar() -> None:
    random = np.random.default_rng(7)
    assert {told(scene(40), scene(seed)).verdict for seed in range(41, 46)} == {"similar"}
    assert {told(plain(kind, random), plain(kind, random)).verdict for kind in PLAIN} == {"similar"}


def test_the_alignment_leads_from_the_query_to_the_match_and_outlines_are_the_same_part() -> None:
    original = scene(50, (640, 480))
    page = scene(51, (900, 700))
    page.paste(original.resize((320, 240)).rotate(90, expand=True), (400, 200))
    said = told(page, original)
    matrix = np.array(said.alignment)
    assert alignment.moved(matrix, np.array([[519.5, 359.5], [400, 519.5]])) == pytest.approx(
        np.array([[319.5, 239.5], [0.5, 0.5]]), abs=4
    )
    in_query, in_match = (np.array(corners) for corners in said.outline)
    assert alignment.moved(matrix, in_query) == pytest.approx(in_match, abs=0.5)
    assert in_query.min(0) == pytest.approx([399.5, 199.5], abs=2)
    names = {edit: amount for edit, amount, _ in said.edits}
    assert names["rotation"] == pytest.approx(90, abs=1)
    assert names["scale"] == pytest.approx(0.5, abs=0.02)
    assert names["pasted"] == pytest.approx(320 * 240 / (900 * 700), rel=0.05)


def test_a_large_query_and_a_thumbnail_as_query_have_amounts_in_their_own_pixels() -> None:
    original = scene(52, (1600, 1200))
    said = told(original.crop((160, 120, 1440, 1080)), original)
    assert [(name, unit) for name, _, unit in said.edits] == [("crop", "of width and height")]
    assert np.array(said.outline[1]).max(0) == pytest.approx([1439.5, 1079.5], abs=8)
    by_id = explained(stored(original, SIDE_PX), stored(original.resize((800, 600)), SIDE_PX))
    assert {name: amount for name, amount, _ in by_id.edits}["scale"] == pytest.approx(2, rel=0.02)


def test_tiny_and_unreadable_pictures_do_no_harm() -> None:
    dot = Image.new("RGB", (1, 1), "red")
    for query, match in product(
        (dot, Image.new("RGB", (900, 2)), scene(1)), (dot, Image.new("L", (3, 700)).convert("RGB"))
    ):
        assert told(query, match).verdict == "similar"
    prepared = PhotoQuery(scene(1), (320, 240))
    assert prepared.explained(Shown(b"\x89PNG", 10, 10), "") == UNREADABLE
    assert prepared.explained(stored(scene(1), SIDE_PX), "part-40-50-0").verdict == "altered copy"


@pytest.mark.parametrize(("mirrored", "negative"), [(True, False), (False, True), (True, True)])
def test_descriptors_are_those_of_the_mirrored_or_negative_picture(mirrored: bool, negative: bool) -> None:
    grey = np.asarray(scene(60).convert("L"))
    seen = grey[:, ::-1] if mirrored else grey
    wanted = features(np.ascontiguousarray(255 - seen if negative else seen), 200)
    given = features(grey, 200)
    likeness = seen_as(given.descriptors, mirrored=mirrored, negative=negative) @ wanted.descriptors.T
    assert np.mean(likeness.max(1) > 0.99) > 0.9


@pytest.mark.parametrize(("quarters", "mirrored"), list(product(range(4), (False, True))))
def test_the_whole_is_aligned_turned_and_mirrored(quarters: int, mirrored: bool) -> None:
    match = np.arange(12).reshape(3, 4)
    query = np.rot90(match[:, ::-1] if mirrored else match, quarters)
    matrix = alignment.whole(query.shape[::-1], (4, 3), quarters, mirrored=mirrored)
    for y, x in np.ndindex(query.shape):
        to_x, to_y = alignment.moved(matrix, np.array([[x, y]]))[0].round().astype(int)
        assert query[y, x] == match[to_y, to_x]
    assert placing.corners((4, 3))[2] == pytest.approx([3.5, 2.5])


def test_the_best_box_is_found_as_by_trying_all() -> None:
    random = np.random.default_rng(8)
    for _ in range(20):
        cells = random.normal(-0.2, 1, (int(random.integers(2, 7)), int(random.integers(2, 7))))
        height, width = cells.shape
        sums = [
            cells[top:bottom, left:right].sum()
            for top in range(height)
            for bottom in range(top + 1, height + 1)
            for left in range(width)
            for right in range(left + 1, width + 1)
        ]
        box = clipping._best(cells)
        found = 0 if box is None else cells[box.top : box.bottom, box.left : box.right].sum()
        assert found == pytest.approx(max(0, *sums))
