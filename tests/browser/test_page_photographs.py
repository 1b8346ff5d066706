"""The page over photographs of every shape, in a real browser against the real pipeline."""

import base64
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

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
        stack,
        folder,
        var_dir=folder / "var",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_photos",
        encoder="photo",
        search_by_address=True,
        private_addresses=True,
    )
    groups.up(settings, "programs", tied=True)
    try:
        others = zip(range(OTHERS), parts_of_photographs(), strict=False)
        images = [*album(whole), *((f"others/{number}.jpg", image) for number, image in others)]
        with ImagePublisher(settings) as publisher:
            publisher.put(jpeg(whole["flower"]), image_id="album/flower.jpg")
            for image_id, image in images:
                metadata = {"name": image_id.split("/")[-1], "modified": "2026-05-01T10:00:00Z"}
                value = with_camera(jpeg(image)) if image_id == "album/flower.jpg" else jpeg(image)
                publisher.put(value, image_id=image_id, metadata=metadata)
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


def test_a_picture_elsewhere_is_found_and_its_history_and_camera_are_shown(
    run: Any, running: Settings, whole: dict[str, Image.Image], tmp_path: Path
) -> None:
    def history() -> bool | None:
        return len(Client(running.api_address).image("album/flower.jpg")["history"] or []) == 2 or None

    wait_for(history, timeout_s=60)
    (tmp_path / "flower.jpg").write_bytes(jpeg(altered(whole["flower"])))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            run("an address, history and camera", elsewhere=f"http://127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


def test_a_photograph_seen_at_an_angle_is_laid_over_its_original(run: Any, whole: dict[str, Image.Image]) -> None:
    run("seen at an angle", tilted=upload("tilted.jpg", tilted(whole["china"])))


def test_a_thorough_search_says_which_part_found_what(run: Any, whole: dict[str, Image.Image]) -> None:
    china, flower = whole["china"], whole["flower"]
    run("thorough", pasted=upload("pasted.jpg", collage(flower, china, *_patterns(2))))


def test_duplicates_stand_side_by_side_and_are_deleted_or_kept_by_keys(
    run: Any, running: Settings, whole: dict[str, Image.Image]
) -> None:
    client, there = Client(running.api_address), _searchable(running)
    for number, name in enumerate(("flower", "china")):
        width, height = whole[name].size
        client.publish(
            jpeg(whole[name].crop((width // 10, height // 10, width, height))), image_id=f"copies/{number}.jpg"
        )
    wait_for(lambda: _searchable(running) == there + 2 or None, timeout_s=60)
    run("duplicates")
    run("not duplicates")
    before = _searchable(running)
    deleted = run("delete a duplicate")
    with pytest.raises(ApiError, match="No image has the id"):
        client.image(deleted)
    assert _searchable(running) == before - 1


def with_camera(value: bytes) -> bytes:
    """The same JPEG with what cameras write, also of what is nobody's business."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x013B] = "Canon", "Canon EOS R5", "Ann Artist"
    details, place = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    details[0x829A], details[0x829D], details[0x8827] = IFDRational(1, 200), IFDRational(18, 10), 400
    place[1], place[2], place[3], place[4] = "S", (33.0, 51.0, 36.0), "E", (151.0, 12.0, 0.0)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(value)).save(buffer, "JPEG", quality="keep", exif=exif)
    return buffer.getvalue()


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
