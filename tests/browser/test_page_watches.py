"""Watches on the page: «tell me», what matched, and delete, against the real pipeline."""

import base64
from collections.abc import Iterator

import pytest

from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist
from stack import groups
from tests.browser.driver import Driver, picture
from tests.conftest import fresh_settings
from tests.waiting import wait_for
from topics.publisher import ImagePublisher


@pytest.fixture(scope="module")
def watched(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run, with twenty digits."""
    folder = tmp_path_factory.mktemp("watched")
    settings = fresh_settings(
        stack, folder, var_dir=folder / "var", cassandra_keyspace=f"{stack.cassandra_keyspace}_watched"
    )
    groups.up(settings, "programs", tied=True)
    try:
        images = mnist.images("train")
        with ImagePublisher(settings) as publisher:
            for n in range(20):
                publisher.put(mnist.png(images[n]), image_id=f"mnist/train/{n:05}")
            publisher.flush(60)
        wait_for(lambda: _count(settings) == 20 or None, timeout_s=120)
        yield settings
    finally:
        groups.down(settings, "programs")


def test_a_watch_made_of_a_search_is_told_of_an_image_that_comes(browser: Driver, watched: Settings) -> None:
    image = base64.b64encode(mnist.png(mnist.images("train")[7])).decode()
    browser.run("tell me", watched.api_address, id="mnist/train/00007", image=image, picture=picture("watches.png"))


def _count(settings: Settings) -> int:
    try:
        return int(Client(settings.api_address).index()["count"])
    except ApiError:
        return 0
