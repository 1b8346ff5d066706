"""One collection is flooded while images come into another at a steady rate: those are searchable within a second."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.arrivals import CoverageWatcher, publish_paced
from contract.collections import Collection, settings_of
from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist
from stack import groups
from tests.conftest import fresh_settings
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

RATE_PER_S = 10
P99_MS_MAX = 1000


@pytest.fixture
def running(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run."""
    settings = fresh_settings(
        stack, tmp_path, var_dir=tmp_path / "var", cassandra_keyspace=f"{stack.cassandra_keyspace}_busy"
    )
    groups.up(settings, "programs", tied=True)
    yield settings
    groups.down(settings, "programs")


def _created(client: Client, encoder: str) -> dict[str, Any] | None:
    """The collection; None while Cassandra is too busy to answer."""
    try:
        return client.create_collection("quiet", encoder=encoder)
    except ApiError as error:
        if error.status == 503:
            return None
        raise


@pytest.mark.timeout(900)
@pytest.mark.thorough
@pytest.mark.alone
def test_images_are_searchable_within_a_second_beside_a_flood(running: Settings) -> None:
    made = wait_for(lambda: _created(Client(running.api_address), running.encoder))
    quiet = settings_of(running, Collection(name="quiet", encoder=running.encoder, partitions=made["partitions"]))
    pngs = [mnist.png(image) for image in mnist.images("train")[:500]]
    busy = 150_000
    with closing(CoverageWatcher(quiet.encoder_index_dir)) as watcher:
        publish_paced(quiet, watcher, pngs, rate=RATE_PER_S, seconds=1, prefix="first")
        with ImagePublisher(running) as publisher:
            for n in range(busy):
                publisher.put(pngs[n % len(pngs)], image_id=f"b/{n}")
            paced = publish_paced(quiet, watcher, pngs, rate=RATE_PER_S, seconds=30, prefix="q")
    left = busy - Client(running.api_address).index()["coverage"]["count"]
    p50, p99 = np.percentile(paced.fresh_ms, [50, 99])
    print(f"{len(paced.fresh_ms)} images beside {busy}: p50 {p50:.0f} ms, p99 {p99:.0f} ms, {left} still to come")
    assert left > 0, "the flood ended before the images that were to be measured"
    assert p99 <= P99_MS_MAX
