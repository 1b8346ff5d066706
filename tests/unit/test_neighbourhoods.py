"""Coordinates of a neighbourhood tell apart what only a few neighbours join, whatever its shape."""

import numpy as np
from sklearn.datasets import make_moons

from model.training.neighbourhoods import neighbourhood_coordinates


def test_moons_that_reach_into_each_other_lie_on_two_sides() -> None:
    places, moon = make_moons(600, noise=0.1, random_state=1)
    coordinates = neighbourhood_coordinates(places.astype(np.float32), 2)
    assert coordinates.dtype == np.float32 and coordinates.shape == (600, 2)
    assert np.allclose(np.linalg.norm(coordinates, axis=1), 1, atol=1e-5)
    is_one_side = coordinates[:, 1] > 0
    agreeing = np.mean(is_one_side == (moon == 1))
    assert max(agreeing, 1 - agreeing) > 0.95


def test_same_embeddings_have_the_same_coordinates() -> None:
    embeddings = np.random.default_rng(1).normal(size=(400, 8)).astype(np.float32)
    first, second = (neighbourhood_coordinates(embeddings, 4) for _ in range(2))
    assert np.allclose(first, second, atol=1e-5)
