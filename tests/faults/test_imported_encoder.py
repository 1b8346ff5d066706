"""A network from outside, of 512 numbers, comes to answer and goes again while it is searched, and answers exactly."""

import io
import itertools
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from contract.settings import Settings
from lookalike_client import Answer, ApiError
from model.encoder import Encoder, load_encoder
from model.networks.importing import NetworkSource, import_network
from model.networks.steps import Steps
from model.pictures.images import decode
from tests.conftest import fresh_settings
from tests.encoder_change import Pipeline, running_pipeline
from tests.networks import SIDE_PX, onnx_network, saved
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

OLD, NEW = "contrast", "mine"
K = 12
CLIENTS = 2
SEARCH_PAUSE_S = 0.05


@cache
def photograph(number: int) -> bytes:
    """A picture as photographs are: coarse shapes in colour with ever finer ones over them, another one for each number."""
    random = np.random.default_rng(number)
    pixels = np.zeros((96, 128, 3))
    for side in (3, 6, 12, 24):
        coarse = Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8))
        pixels += np.asarray(coarse.resize((128, 96), Image.Resampling.BICUBIC), np.float64) / side
    buffer = io.BytesIO()
    Image.fromarray((255 * pixels / pixels.max()).astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


class Searches:
    """Clients that search until they are left.

    Attributes:
        failed: searches that were not answered.
        answered: each query's number and its answer.
    """

    def __init__(self, pipeline: Pipeline, count: int) -> None:
        self.failed: list[str] = []
        self.answered: list[tuple[int, Answer]] = []
        self._pipeline, self._count, self._stop = pipeline, count, threading.Event()
        self._threads = [threading.Thread(target=self._search, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> "Searches":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_answers(self, more: int) -> None:
        wanted = len(self.answered) + more
        wait_for(lambda: len(self.answered) >= wanted or None)

    def _search(self, client: int) -> None:
        for n in itertools.count(client, CLIENTS):
            if self._stop.wait(SEARCH_PAUSE_S):
                return
            number = n * 7919 % self._count
            try:
                self.answered.append((number, self._pipeline.client.search(photograph(number), k=K)))
            except ApiError as error:
                self.failed.append(str(error))


@pytest.fixture
def pipeline(stack: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    encoders = tmp_path / "encoders"
    source = NetworkSource(NEW, saved(onnx_network(), tmp_path), ".onnx", Steps(SIDE_PX, SIDE_PX, "nchw"))
    assert import_network(source, encoders).dimensions == 512
    settings = fresh_settings(
        stack,
        tmp_path,
        encoder=OLD,
        next_encoder=NEW,
        encoders_dir=encoders,
        var_dir=tmp_path,
        rebuild_interval_s=2.0,
        cassandra_keyspace=f"{stack.cassandra_keyspace}_imported",
    )
    with running_pipeline(settings) as pipeline:
        yield pipeline


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(300, marks=[pytest.mark.thorough, pytest.mark.timeout(600)]),
        pytest.param(10_000, marks=[pytest.mark.thorough, pytest.mark.timeout(3600)]),
    ],
)
def test_imported_network_is_promoted_searched_exactly_and_rolled_back(pipeline: Pipeline, count: int) -> None:
    with ImagePublisher(pipeline.settings) as publisher:
        for number in range(count):
            publisher.put(photograph(number), image_id=f"photo/{number:05}")
    pipeline.wait_ready()
    wait_for(lambda: pipeline.client.index()["count"] >= count or None, timeout_s=1200)
    with Searches(pipeline, count) as searches:
        began = time.monotonic()
        pipeline.start("embedder-next", "indexer-next")
        pipeline.wait_lag(NEW, lag_max=0, timeout_s=1800)
        print(f"{count} images indexed by {NEW} {time.monotonic() - began:.1f} s later")
        for verb in (["promote", NEW], ["rollback"], ["promote", NEW]):
            assert pipeline.gallery(*verb) == 0
            pipeline.wait_serving(OLD if verb == ["rollback"] else NEW)
            searches.wait_answers(8)
    assert searches.failed == []
    assert check(pipeline, searches, count) == {OLD, NEW}
    print(f"{len(searches.answered)} searches answered, 0 not")


def check(pipeline: Pipeline, searches: Searches, count: int) -> set[str]:
    """Every answer is brute force's, in float64, by the encoder that it names; returns those encoders."""
    encoders = {name: load_encoder(name, pipeline.settings.encoders_dir) for name in (OLD, NEW)}
    galleries = {encoder.fingerprint: (name, embedded(encoder, count)) for name, encoder in encoders.items()}
    seen = set()
    for number, answer in searches.answered:
        name, gallery = galleries[answer.coverage.encoder]
        seen.add(name)
        distances = np.linalg.norm(gallery - gallery[number], axis=1)
        nearest = np.argsort(distances, kind="stable")[:K]
        assert [match.id for match in answer.matches] == [f"photo/{row:05}" for row in nearest], name
        assert [match.distance for match in answer.matches] == pytest.approx(distances[nearest].tolist(), abs=1e-6)
    return seen


def embedded(encoder: Encoder, count: int) -> NDArray[np.float64]:
    pictures = (decode(photograph(number)).image for number in range(count))
    return np.stack([encoder.embed(encoder.pixels(picture)) for picture in pictures]).astype(np.float64)
