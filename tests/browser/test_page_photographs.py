"""The page over photographs of every shape, in a real browser against the real pipeline."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from contract.settings import Settings
from lookalike_client import ApiError, Client
from stack import groups
from tests.browser.driver import Driver
from tests.browser.photographs import KEPT, album, altered, collage, jpeg, photographs, tilted
from tests.conftest import fresh_settings
from tests.people import photographs as parts_of_photographs
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

OTHERS = 9


@pytest.fixture(scope="module")
def whole() -> dict[str, Image.Image]:
    return photographs("sklearn")


@pytest.fixture(scope="module")
def running(
    stack: Settings, tmp_path_factory: pytest.TempPathFactory, whole: dict[str, Image.Image]
) -> Iterator[Settings]:
    """Settings of a pipeline with the encoder for photographs, whose programs run, and a small album on it."""
    folder = tmp_path_factory.mktemp("photographs")
    settings = fresh_settings(
        stack, folder, var_dir=folder / "var", cassandra_keyspace=f"{stack.cassandra_keyspace}_photos", encoder="photo"
    )
    groups.up(settings, "programs", tied=True)
    try:
        others = zip(range(OTHERS), parts_of_photographs(), strict=False)
        images = [*album(whole), *((f"others/{number}.jpg", image) for number, image in others)]
        with ImagePublisher(settings) as publisher:
            for image_id, image in images:
                metadata = {"name": image_id.split("/")[-1], "modified": "2026-05-01T10:00:00Z"}
                publisher.put(jpeg(image), image_id=image_id, metadata=metadata)
            publisher.flush(60)
        wait_for(lambda: _searchable(settings) == len(images) or None, timeout_s=120)
        yield settings
    finally:
        groups.down(settings, "programs")


@pytest.fixture
def run(browser: Driver, running: Settings) -> Any:
    return lambda scenario, **args: browser.run(scenario, running.api_address, **args)


def test_photographs_of_every_shape_are_shown_whole_and_named(run: Any, whole: dict[str, Image.Image]) -> None:
    run("photographs", altered=upload("altered.jpg", altered(whole["flower"])), box=[round(20 * x) / 20 for x in KEPT])


def test_a_photograph_seen_at_an_angle_is_laid_over_its_original(run: Any, whole: dict[str, Image.Image]) -> None:
    run("seen at an angle", tilted=upload("tilted.jpg", tilted(whole["china"])))


def test_a_thorough_search_says_which_part_found_what(run: Any, whole: dict[str, Image.Image]) -> None:
    china, flower = whole["china"], whole["flower"]
    run("thorough", pasted=upload("pasted.jpg", collage(flower, china, *_patterns(2))))


def _patterns(count: int) -> list[Image.Image]:
    """Pictures of chance, which are in no album."""
    found = (image for number, image in enumerate(parts_of_photographs()) if number % 3 == 2 and number > OTHERS)
    return [next(found) for _ in range(count)]


def upload(name: str, image: Image.Image) -> dict[str, str]:
    return {"name": name, "type": "image/jpeg", "base64": base64.b64encode(jpeg(image)).decode()}


def _searchable(settings: Settings) -> int:
    try:
        return int(Client(settings.api_address).index()["count"])
    except ApiError:
        return 0
