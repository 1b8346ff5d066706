"""The engine is changed while it serves: no search fails, answers are right with either, and a kill between steps changes nothing."""

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contract.settings import Settings
from gallery.generations.manifest import CURRENT
from gallery.store.store import Store
from model import mnist
from tests.conftest import fresh_settings
from tests.encoder_change import NEW, OLD, Load, Pipeline, embedding, picture, running_pipeline
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

KEPT = 300
K = 4


@pytest.fixture
def pipeline(stack: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    settings = fresh_settings(
        stack,
        tmp_path,
        kafka_partitions=2,
        encoder=NEW,
        next_encoder=OLD,
        var_dir=tmp_path,
        cassandra_keyspace=f"{stack.cassandra_keyspace}_engines",
    )
    with running_pipeline(settings) as pipeline:
        with ImagePublisher(settings) as publisher:
            for n in range(KEPT):
                publisher.put(mnist.png(picture(f"kept/{n}")), image_id=f"kept/{n}")
        pipeline.wait_ready()
        wait_for(lambda: pipeline.client.index()["count"] >= KEPT or None, timeout_s=120)
        yield pipeline


def wait_engine(pipeline: Pipeline, engine: str) -> None:
    wait_for(lambda: pipeline.client.index()["engine"] == engine or None, timeout_s=60)


def recall(pipeline: Pipeline, *, exact: bool) -> float:
    """Of answers to images that are not there, by brute force over what is; each distance is right."""
    embeddings = {f"kept/{n}": embedding(NEW, f"kept/{n}") for n in range(KEPT)}
    ids, found = list(embeddings), 0
    stacked = np.stack([embeddings[each] for each in ids])
    queries = [f"other/{n}" for n in range(5000, 5040)]
    for query in queries:
        answer = pipeline.client.search(mnist.png(picture(query)), k=K)
        assert answer.coverage.exact == exact
        distances = np.linalg.norm(stacked - embedding(NEW, query), axis=1)
        nearest = [ids[n] for n in np.argsort(distances)[:K]]
        assert [match.distance for match in answer.matches] == sorted(match.distance for match in answer.matches)
        for match in answer.matches:
            assert abs(match.distance - distances[ids.index(match.id)]) < 1e-5
        found += len(set(nearest) & {match.id for match in answer.matches})
    return found / (K * len(queries))


@pytest.mark.timeout(600)
def test_engine_is_changed_and_changed_back_under_load_and_the_other_one_let_go_of(pipeline: Pipeline) -> None:
    with Load(pipeline, KEPT) as load:
        for engine, before in (("cassandra", "exact"), ("exact", "cassandra")):
            promoting = ("promote", "--engine", engine, "--wait-s", "120")
            for place in ("engine-after-beside", "engine-before-switch"):
                assert pipeline.gallery(*promoting, failpoints=place) == -signal.SIGKILL
                assert pipeline.client.index()["engine"] == before
            assert pipeline.gallery(*promoting, failpoints="engine-after-switch") == -signal.SIGKILL
            wait_engine(pipeline, engine)
            assert pipeline.gallery(*promoting) == 0
            load.wait_answers(5)
            let_go = ("promote", "--engine", engine, "--alone")
            assert pipeline.gallery(*let_go, failpoints="engine-after-alone") == -signal.SIGKILL
            assert pipeline.gallery(*let_go) == 0
            wait_alone(pipeline.settings, engine)
            load.wait_answers(5)
    assert load.failed == []
    load.check(NEW)


@pytest.mark.timeout(600)
def test_answers_are_right_with_either_engine(pipeline: Pipeline) -> None:
    assert recall(pipeline, exact=True) == 1.0
    assert pipeline.gallery("promote", "--engine", "cassandra", "--wait-s", "120") == 0
    wait_engine(pipeline, "cassandra")
    assert recall(pipeline, exact=False) >= 0.98
    # Both go on growing, so that the way back is short.
    with ImagePublisher(pipeline.settings) as publisher:
        publisher.delete("kept/0").result(10)
        publisher.put(mnist.png(picture("kept/0")), image_id="kept/0").result(10)
    assert pipeline.gallery("promote", "--engine", "exact", "--wait-s", "60") == 0
    wait_engine(pipeline, "exact")
    assert recall(pipeline, exact=True) == 1.0


def wait_alone(settings: Settings, engine: str) -> None:
    wait_for(lambda: is_alone(settings, engine) or None)


def is_alone(settings: Settings, engine: str) -> bool:
    """Whether nothing is left of the other engine's index."""
    store = Store.connect(settings)
    try:
        has_table = bool(store.embedding_tables.of_topic(settings.kafka_topic))
    finally:
        store.close()
    has_files = (settings.encoder_index_dir / CURRENT).exists()
    return (has_table, has_files) == ((True, False) if engine == "cassandra" else (False, True))
