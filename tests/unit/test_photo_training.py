"""What the encoder for photographs is trained with: random copies, and linear maps that keep what matters."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from model.training.photo.edits import COPY_SIDE_PX_MAX, edited_at_random
from model.training.photo.projections import discriminant, whitening

PHOTOGRAPHS = [Image.fromarray(image) for image in load_sample_images().images]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 500), height=st.integers(1, 500))
def test_training_copies_are_pictures_of_bounded_size_and_the_same_for_one_seed(
    seed: int, width: int, height: int
) -> None:
    picture, *others = (photograph.resize((width, height)) for photograph in PHOTOGRAPHS * 2)
    copy, again = (edited_at_random(picture, np.random.default_rng(seed), others) for _ in range(2))
    assert copy.mode == "RGB"
    assert max(copy.size) <= COPY_SIDE_PX_MAX
    assert copy.tobytes() == again.tobytes()


def test_discriminant_keeps_what_edits_and_folders_leave() -> None:
    random = np.random.default_rng(2)
    folders = np.repeat(np.arange(40), 10)
    identity, by_folder = random.normal(size=(400, 2)), random.normal(size=(40, 2))[folders]
    edits = 5 * random.normal(size=(400, 3, 2))
    features = np.concatenate([20 * by_folder, identity, 5 * random.normal(size=(400, 2))], 1).astype(np.float32)
    views = np.repeat(features[:, None], 3, 1)
    views[..., 4:] = edits
    kept = discriminant(features, views, folders, 2)
    assert np.abs(kept.matrix[:2]).sum() > 10 * np.abs(kept.matrix[2:]).sum()
    np.testing.assert_allclose(kept(features).mean(0), 0, atol=1e-3)


def test_whitening_makes_spreads_alike() -> None:
    random = np.random.default_rng(3)
    features = (random.normal(size=(2000, 6)) * [5, 4, 3, 2, 1, 0.01] + 7).astype(np.float32)
    spread = whitening(features, 4)(features).std(0)
    assert spread.min() > 0.5 and spread.max() < 0.8  # of 5, 4, 3 and 2, with a floor of .3 of the greatest
