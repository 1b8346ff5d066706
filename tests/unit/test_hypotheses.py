"""What a query may be beside itself, and how what each hypothesis found becomes one answer."""

import numpy as np
import pytest
from PIL import Image

from model.pictures.hypotheses import HYPOTHESIS_SIDE_PX, NAMES, WHOLE, hypotheses, margins, merge

NOTHING_ADDED = dict.fromkeys(NAMES, 0.0)


def numbered(width: int, height: int) -> Image.Image:
    """A picture in which each pixel differs from its neighbours."""
    return Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (28, 28), (12, 5)])
def test_every_picture_has_every_hypothesis_in_its_own_mode(mode: str, size: tuple[int, int]) -> None:
    made = list(hypotheses(numbered(*size).convert(mode)))
    assert tuple(name for name, _ in made) == NAMES
    assert all(picture.mode == mode and min(picture.size) >= 1 for _, picture in made)


def test_hypotheses_are_what_their_names_say() -> None:
    image = numbered(20, 10)
    pixels = np.asarray(image)
    made = {name: np.asarray(picture) for name, picture in hypotheses(image)}
    assert (made["turned-90"] == np.rot90(pixels)).all()
    assert (made["turned-270"] == np.rot90(pixels, 3)).all()
    assert (made["mirrored"] == pixels[:, ::-1]).all()
    assert (made["negative"] == 255 - pixels).all()
    assert (made["part-40-0-100"] == pixels[6:, :8]).all()
    assert (made["part-65-50-0"] == pixels[:6, 3:16]).all()


def test_transparency_of_a_negative_stays() -> None:
    image = Image.new("RGBA", (2, 2), (10, 20, 30, 40))
    assert dict(hypotheses(image))["negative"].getpixel((0, 0)) == (245, 235, 225, 40)


def test_the_whole_stays_as_it_is_and_the_others_of_a_large_picture_are_small() -> None:
    image = Image.new("RGB", (2000, 1000))
    made = dict(hypotheses(image))
    assert made[WHOLE] is image
    assert made["mirrored"].size == (HYPOTHESIS_SIDE_PX, HYPOTHESIS_SIDE_PX // 2)


def test_the_smallest_distance_with_its_margin_wins_and_the_true_distance_is_told() -> None:
    found = {
        WHOLE: [(0.5, "a"), (0.6, "b"), (0.9, "c")],
        "mirrored": [(0.1, "c"), (0.45, "a")],
        "part-40-0-0": [(0.0, "b"), (0.2, "d")],
    }
    added = {WHOLE: 0.0, "mirrored": 0.1, "part-40-0-0": 0.5}
    expected = [("c", 0.1, "mirrored"), ("a", 0.5, WHOLE), ("b", 0.0, "part-40-0-0"), ("d", 0.2, "part-40-0-0")]
    assert merge(found, added, 10) == expected
    assert merge(found, added, 2) == expected[:2]
    assert merge(found, added, 10, max_distance=0.5) == expected[:3]
    assert merge(found, added, 10, max_distance=0.1) == []


def test_ties_are_broken_by_id_then_by_the_order_of_hypotheses() -> None:
    found = {WHOLE: [(1.0, "b"), (1.0, "ü")], "mirrored": [(1.0, "a"), (1.0, "b"), (1.0, "z")]}
    assert [(image_id, name) for image_id, _, name in merge(found, NOTHING_ADDED, 4)] == [
        ("a", "mirrored"),
        ("b", WHOLE),
        ("z", "mirrored"),
        ("ü", WHOLE),
    ]


def test_k_of_each_hypothesis_are_enough_for_the_k_nearest_of_all() -> None:
    random = np.random.default_rng(3)
    gallery, queries = random.normal(size=(200, 8)), random.normal(size=(len(NAMES), 8)).astype(np.float32)
    distances = np.round(np.linalg.norm(queries[:, None] - gallery, axis=2), 1)  # rounded: many ties
    added = {name: round(margin, 1) for name, margin in margins(queries[0]).items()}
    ids = [f"id/{number}" for number in range(200)]
    everything = {name: sorted(zip(distances[n].tolist(), ids, strict=True)) for n, name in enumerate(NAMES)}
    firsts = {name: answer[:7] for name, answer in everything.items()}
    assert merge(firsts, added, 7) == merge(everything, added, 7)


def test_margins_grow_with_the_embeddings_scale_and_the_whole_has_none() -> None:
    small, large = margins(np.full(4, 0.5, np.float32)), margins(np.full(4, 5, np.float32))
    assert small[WHOLE] == large[WHOLE] == 0
    assert 0 < small["mirrored"] < small["part-65-0-0"] == pytest.approx(large["part-65-0-0"] / 10)
