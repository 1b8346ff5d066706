"""Which embeddings lie within which watches' distances, beside float64."""

import random

import numpy as np
import pytest

from gallery.store.watches import StoredWatch, WatchStart
from workers.watcher.matching import Matcher


@pytest.mark.parametrize("dimensions", [1, 8, 128, 512])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e6, 3e37])
def test_what_is_near_is_what_float64_says(dimensions: int, scale: float) -> None:
    chance = np.random.default_rng(dimensions)
    points = (chance.normal(size=(40, dimensions)) * scale).astype(np.float32)
    points[:5] = points[5:10]  # the same twice
    points[39] = 0
    wide = points.astype(np.float64)
    between = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(2))
    picked = random.Random(dimensions)
    reaches = [
        float(picked.choice([0.0, between[n, (n * 7) % 40] * picked.choice([1.0, 1 + 1e-9, 1 - 1e-9])]))
        for n in range(40)
    ]
    watches = [
        StoredWatch(
            topic="t",
            id=str(n),
            name="",
            embedding=points[n].tobytes(),
            encoder="e",
            max_distance=reach,
            start=WatchStart("l", {}),
            created_at_ms=1,
        )
        for n, reach in enumerate(reaches)
    ]
    found = {(near.row, near.watch): near.distance for near in Matcher(watches, dimensions).near(points)}
    for row, watch in np.ndindex(40, 40):
        distance = between[row, watch]
        if abs(distance - reaches[watch]) > 1e-12 * max(distance, reaches[watch]):
            assert ((row, watch) in found) == (distance <= reaches[watch])
        if (row, watch) in found:
            assert found[row, watch] == pytest.approx(distance, rel=1e-12)
    assert all((n, n) in found for n in range(40))


def test_no_watches_and_no_rows_match_nothing() -> None:
    assert list(Matcher([], 4).near(np.zeros((3, 4), np.float32))) == []
    watch = StoredWatch(
        topic="t",
        id="1",
        name="",
        embedding=bytes(16),
        encoder="e",
        max_distance=1.0,
        start=WatchStart("l", {}),
        created_at_ms=1,
    )
    assert list(Matcher([watch], 4).near(np.zeros((0, 4), np.float32))) == []
