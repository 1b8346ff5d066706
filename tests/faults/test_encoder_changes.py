"""The encoder is changed while it serves: no search fails, no answer mixes encoders, both indexes hold the same images."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.settings import Settings
from model import mnist
from tests.conftest import fresh_settings
from tests.encoder_change import CLIENTS, IMAGES_PER_S, NEW, OLD, PARTITIONS, Load, Pipeline, picture, running_pipeline
from tests.waiting import wait_for
from topics.publisher import ImagePublisher


@pytest.fixture
def pipeline(stack: Settings, tmp_path: Path) -> Iterator[Pipeline]:
    settings = fresh_settings(
        stack,
        tmp_path,
        kafka_partitions=PARTITIONS,
        encoder=OLD,
        next_encoder=NEW,
        var_dir=tmp_path,
        rebuild_interval_s=5.0,
        cassandra_keyspace=f"{stack.cassandra_keyspace}_change",
    )
    with running_pipeline(settings) as pipeline:
        yield pipeline


def publish(pipeline: Pipeline, kept: int) -> None:
    """Have the first `kept` images indexed by the old encoder."""
    with ImagePublisher(pipeline.settings) as publisher:
        for n in range(kept):
            publisher.put(mnist.png(picture(f"kept/{n}")), image_id=f"kept/{n}")
    pipeline.wait_ready()
    wait_for(lambda: pipeline.client.index()["count"] >= kept or None, timeout_s=400)


@pytest.mark.parametrize(
    ("kept", "clients", "images_per_s"),
    [
        pytest.param(300, CLIENTS, IMAGES_PER_S, marks=[pytest.mark.thorough, pytest.mark.timeout(600)]),
        pytest.param(60_000, 8, 200, marks=[pytest.mark.thorough, pytest.mark.timeout(3600)]),
    ],
)
def test_encoder_is_changed_and_changed_back_under_load(
    pipeline: Pipeline, kept: int, clients: int, images_per_s: int
) -> None:
    publish(pipeline, kept)
    with Load(pipeline, kept, clients, images_per_s) as load:
        pipeline.start("embedder-next", "indexer-next")
        pipeline.wait_lag(NEW, lag_max=images_per_s, timeout_s=900)
        assert pipeline.gallery("promote", NEW, failpoints="promote-before-rename") == -signal.SIGKILL
        assert pipeline.index(OLD)["is_serving"]
        assert pipeline.gallery("promote", NEW) == 0
        pipeline.wait_serving(NEW)
        wait_for(lambda: pipeline.decoders() == [NEW] or None)
        assert pipeline.gallery("rollback", failpoints="promote-after-rename") == -signal.SIGKILL
        pipeline.wait_serving(OLD)
        wait_for(lambda: pipeline.decoders() == [OLD] or None)
        assert pipeline.gallery("promote", NEW) == 0
        pipeline.wait_serving(NEW)
    assert load.failed == []
    load.check(OLD, NEW)
    print(f"{pipeline.check_same_images(kept)} images in both")


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_programs_killed_while_the_encoder_is_changed_change_nothing(pipeline: Pipeline) -> None:
    kept = 2000
    publish(pipeline, kept)
    with Load(pipeline, kept) as load:
        pipeline.start("embedder-next", "indexer-next")
        for name in ("embedder-next", "indexer-next", "embedder", "indexer"):
            wait_for(lambda: pipeline.index(NEW))
            pipeline.restart(name)
            for to in (NEW, OLD):
                change(pipeline, to, name)
    assert load.failed == []
    load.check(OLD, NEW)
    pipeline.check_same_images(kept)


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_api_killed_while_it_changes_over_answers_with_the_new_encoder_when_it_is_back(pipeline: Pipeline) -> None:
    kept = 2000
    publish(pipeline, kept)
    pipeline.start("embedder-next", "indexer-next")
    pipeline.wait_lag(NEW, lag_max=0)
    for place, to in (("api-before-change", NEW), ("api-after-change", OLD)):
        pipeline.stop("api")
        pipeline.start("api", failpoints=place)
        pipeline.wait_ready()
        with Load(pipeline, kept) as load:
            assert pipeline.gallery("promote", to) == 0
            assert wait_for(lambda: pipeline.children["api"].exit_code()) == -signal.SIGKILL
            pipeline.start("api")
            pipeline.wait_serving(to)
            load.wait_answers(5)
        load.check(OLD, NEW)
        # Its death fails searches; nothing else does.
        assert all(told.startswith("unreachable") for told in load.failed), set(load.failed)
    pipeline.check_same_images(kept)


def change(pipeline: Pipeline, to: str, killed: str) -> None:
    """Change over while a program is killed."""
    statuses: list[int] = []
    changing = threading.Thread(target=lambda: statuses.append(pipeline.gallery("promote", to, "--wait-s", "120")))
    changing.start()
    pipeline.restart(killed)
    changing.join()
    assert statuses == [0]
    pipeline.wait_serving(to)
