"""The page of a collection whose engine is Cassandra's vector index, against the real pipeline."""

from collections.abc import Iterator

import pytest

from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist
from stack import groups
from tests.browser.driver import Driver
from tests.conftest import fresh_settings
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

COUNT = 60


@pytest.fixture
def running(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run, with sixty digits in a table of embeddings."""
    folder = tmp_path_factory.mktemp("engine")
    settings = fresh_settings(
        stack,
        folder,
        var_dir=folder / "var",
        engine="cassandra",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_engine",
        recall_rows_per_s=100_000,
    )
    groups.up(settings, "programs", tied=True)
    try:
        with ImagePublisher(settings) as publisher:
            for n, image in enumerate(mnist.images("train")[:COUNT]):
                publisher.put(mnist.png(image), image_id=f"mnist/train/{n:05}")
            publisher.flush(60)
        wait_for(lambda: _count(settings) == COUNT or None, timeout_s=120)
        yield settings
    finally:
        groups.down(settings, "programs")


def test_an_answer_that_is_not_exact_says_so_and_its_effort_can_be_chosen(browser: Driver, running: Settings) -> None:
    browser.run("answers that are not exact", running.api_address, id="mnist/train/00007", count=COUNT)


def _count(settings: Settings) -> int:
    try:
        return int(Client(settings.api_address).index()["count"])
    except ApiError:
        return 0
