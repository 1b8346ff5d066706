"""The page in a real browser against the real pipeline: everything that a person does there, and what they see when things fail."""

import base64
import hashlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist
from stack import groups
from stack.programs import answers_ready
from stack.state import read_state
from tests.browser.driver import Driver, picture
from tests.conftest import fresh_settings
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

DIGITS = 3000
ID = "mnist/train/00007"
HOSTILE = {
    "label": "<img src=x onerror=alert(1)>",
    "\u202edrawkcab": "right \u202e to left \u2066 and on",
    "long": "x" * 10_000,
}


@pytest.fixture(scope="module")
def running(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a pipeline whose programs run, with the first training digits and one hostile image."""
    folder = tmp_path_factory.mktemp("page")
    settings = fresh_settings(
        stack,
        folder,
        var_dir=folder / "var",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_page",
        rebuild_interval_s=20,
        stalled_after_s=3.0,
    )
    groups.up(settings, "programs", tied=True)
    try:
        images, labels = mnist.images("train"), mnist.labels("train")
        with ImagePublisher(settings) as publisher:
            sent = [
                publisher.put(mnist.png(images[n]), image_id=f"mnist/train/{n:05}", metadata={"label": int(labels[n])})
                for n in range(DIGITS)
            ]
            sent.append(publisher.put(digit(900), image_id="hostile <b>id</b>", metadata=HOSTILE))
            publisher.flush(60)
            for future in sent:
                future.result(60)
        wait_for(lambda: _searchable(settings) > DIGITS or None, timeout_s=180)
        yield settings
    finally:
        groups.down(settings, "programs")


@pytest.fixture
def run(browser: Driver, running: Settings) -> Any:
    wait_for(lambda: answers_ready(running.api_address) or None, timeout_s=60)
    return lambda scenario, **args: browser.run(scenario, running.api_address, **args)


def test_search_by_file_shows_neighbours_details_and_coverage_in_both_themes(run: Any) -> None:
    known = mnist.png(mnist.images("train")[7])
    run("search by file", known=upload("seven.png", known))


def test_an_altered_copy_is_named_laid_over_and_sorted_first(run: Any) -> None:
    turned = Image.fromarray(mnist.images("train")[7]).rotate(12, Image.Resampling.BICUBIC)
    small = Image.fromarray(mnist.images("train")[7]).resize((22, 22), Image.Resampling.BICUBIC)
    run(
        "altered copy",
        id=ID,
        altered=upload("turned.png", mnist.png(np.asarray(turned))),
        small=upload("small.png", mnist.png(np.asarray(small))),
        picture=picture("verdict.png"),
    )


def test_search_by_paste(run: Any) -> None:
    run("search by paste", known=upload("seven.png", mnist.png(mnist.images("train")[7])))


def test_search_by_id_stays_in_the_address_and_back_and_forward_work(run: Any) -> None:
    run("search by id, back and forward", id=ID)


def test_drawn_digits_find_mostly_their_own_class(run: Any) -> None:
    found = run("search by drawing", picture=picture("drawn.png"))
    right = [labels.count(f"label {digit}") for digit, labels in enumerate(found)]
    print("of ten neighbours of each drawn digit, of its own class:", right)
    assert sum(right) > 70
    assert sum(n > 5 for n in right) >= 8


def test_added_image_appears_completes_its_life_line_finds_itself_and_is_deleted(run: Any) -> None:
    fresh, whole = digit(1234), digit(1235)
    run(
        "add, watch, find, delete",
        fresh={**upload("fresh.png", fresh), "id": hashlib.sha256(fresh).hexdigest()},
        broken=upload("broken.png", whole[:-60]),
        text=upload("<img src=x onerror=alert(1)>.txt", b"no image", "text/plain"),
    )


def test_hostile_metadata_is_shown_as_text(run: Any) -> None:
    run("hostile metadata is text", id="hostile <b>id</b>")


def test_everything_can_be_reached_with_the_keyboard_alone(run: Any) -> None:
    run("keyboard only")


def test_an_answer_that_breaks_off_is_a_problem_and_one_given_up_is_none(run: Any) -> None:
    run("an answer that breaks off")


def test_page_fits_375_pixels_and_respects_reduced_motion(run: Any) -> None:
    run("narrow, and with reduced motion", picture=picture("narrow.png"))


def test_sixty_updates_a_second_do_not_freeze_the_page(run: Any) -> None:
    run("sixty updates a second")


def test_from_drop_to_neighbours(run: Any) -> None:
    files = [base64.b64encode(digit(2000 + n)).decode() for n in range(40)]
    browser_ms, api_ms = np.percentile(run("time from drop to neighbours", files=files), 50, axis=0)
    print(f"drop to neighbours on screen: p50 {browser_ms:.0f} ms, of which the API {api_ms:.1f} ms")


def test_collections_are_chosen_in_the_header_and_by_the_address(run: Any, running: Settings) -> None:
    client = Client(running.api_address)
    names = ["few", "bare"]
    try:
        for name in names:
            client.create_collection(name, encoder=running.encoder, partitions=1)
            wait_for(partial(_is_searchable, running, name, 0), timeout_s=30)
        few = Client(running.api_address, collection="few")
        for number in range(3):
            few.publish(digit(3000 + number), image_id=f"few/{number}")
        wait_for(partial(_is_searchable, running, "few", 3), timeout_s=30)
        run("switch between collections", few="few", bare="bare", id="few/1", fresh=upload("fresh.png", digit(3100)))
    finally:
        for name in names:
            client.drop_collection(name)


def test_lost_connection_is_said_and_mended(run: Any, running: Settings) -> None:
    def kill() -> None:
        os.kill(_pid(running, "programs", "api"), signal.SIGKILL)

    run("API away and back", outside={"kill the api": kill})


def test_an_indexer_that_stands_still_is_said_in_both_views(run: Any, running: Settings) -> None:
    indexer = _pid(running, "programs", "indexer")
    try:
        run(
            "indexer standing still",
            fresh=upload("waiting.png", digit(78)),
            outside={
                "freeze the indexer": lambda: os.kill(indexer, signal.SIGSTOP),
                "thaw the indexer": lambda: os.kill(indexer, signal.SIGCONT),
            },
        )
    finally:
        os.kill(indexer, signal.SIGCONT)


def test_without_kafka_adding_says_so_and_search_goes_on(run: Any, running: Settings, stack: Settings) -> None:
    kafka = _pid(stack, "servers", "kafka")
    try:
        run(
            "Kafka away",
            fresh=upload("late.png", digit(77)),
            outside={
                "freeze kafka": lambda: os.kill(kafka, signal.SIGSTOP),
                "thaw kafka": lambda: os.kill(kafka, signal.SIGCONT),
            },
        )
    finally:
        os.kill(kafka, signal.SIGCONT)


def digit(number: int) -> bytes:
    return mnist.png(mnist.images("test")[number])


def upload(name: str, value: bytes, media_type: str = "image/png") -> dict[str, str]:
    return {"name": name, "type": media_type, "base64": base64.b64encode(value).decode()}


def _searchable(settings: Settings, collection: str = "default") -> int:
    try:
        return int(Client(settings.api_address, collection=collection).index()["count"])
    except ApiError:
        return -1


def _is_searchable(settings: Settings, collection: str, count: int) -> bool | None:
    return _searchable(settings, collection) == count or None


def _pid(settings: Settings, group: str, name: str) -> int:
    state = read_state(settings, group)
    assert state is not None
    return next(process.pid for process in state.processes if process.name == name)
