"""Duplicates over HTTP: a run in a process of its own against a real store, and its groups while the gallery changes."""

import csv
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from contract.record_key import RecordKey
from contract.settings import Settings, environment_of
from gallery.store.store import Store
from lookalike_client import Client
from model.encoder import load_encoder
from tests.api_gallery import Gallery, record, running_api
from tests.conftest import fresh_settings
from tests.scenes import scene
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
SIZE = (400, 300)


def png(image: Image.Image, level: int = 6) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=level)
    return buffer.getvalue()


def images() -> dict[str, bytes]:
    first, second = scene(1, SIZE), scene(2, SIZE)
    return {
        "first": png(first),
        "again": png(first),
        "packed": png(first, 1),
        "cropped": png(first.crop((20, 15, 380, 285))),
        "second": png(second),
        "small": png(second.resize((200, 150))),
        "third": png(scene(3, SIZE)),
    }


@pytest.fixture(scope="module")
def running(
    stack: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Gallery, httpx.Client]]:
    folder = tmp_path_factory.mktemp("duplicates")
    settings = fresh_settings(stack, folder, var_dir=folder / "var", duplicates_dir=folder / "found", encoder="photo")
    gallery = Gallery(settings)
    gallery.put(images())
    side_px = load_encoder("photo").thumbnail_side_px
    with closing(Store.connect(settings)) as store:
        store.records.write(
            replace(
                record(n, *image, thumbnail_side_px=side_px), key=RecordKey(gallery.log, 0, n), kafka_time_ms=1000 + n
            )
            for n, image in enumerate(images().items())
        )
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield settings, gallery, client


def found(client: httpx.Client, **parameters: Any) -> dict[str, Any]:
    response = client.get("/v1/duplicates", params=parameters)
    assert response.status_code in (200, 202), response.text
    body: dict[str, Any] = response.json()
    assert (response.status_code == 202) == (body["run"] is None)
    return body


def copies(body: dict[str, Any]) -> dict[str, list[str]]:
    """Scenes are near one another, too; that is of no interest here."""
    return {
        f"{each['class']} {each['images'][0]['id']}": [image["id"] for image in each["images"]]
        for each in body["groups"]
        if each["class"] != "near"
    }


def test_groups_are_found_shown_page_by_page_and_kept_true(running: tuple[Settings, Gallery, httpx.Client]) -> None:
    _settings, gallery, client = running
    assert found(client)["state"] == "computing"
    body = wait_for(lambda: ((told := found(client))["run"] and told) or None, timeout_s=120)
    assert copies(body) == {
        "same bytes first": ["first", "again"],
        "same pixels first": ["first", "packed"],
        "altered copy first": ["first", "cropped"],
        "altered copy second": ["second", "small"],
    }
    assert [image["id"] for image in body["groups"][4]["images"]] == ["first", "second", "third"], "near ones"
    copy = body["groups"][2]["images"][1]
    assert (copy["compared_with"], copy["made_from_it"]) == ("first", True)
    assert copy["edits"][0]["name"] == "crop"
    assert body["run"]["current"] and body["run"]["unjudged"] == 0
    assert body["run"]["classes"]["altered copy"] == {"groups": 2, "duplicates": 2}

    told = Client(str(client.base_url))
    assert list(told.duplicates()) == body["groups"]
    assert [each["class"] for each in told.duplicates(kinds=["same bytes", "same pixels"])] == [
        "same bytes",
        "same pixels",
    ]
    of_one = {(each["class"], each["best"], *each["ids"]) for each in told.image("first")["duplicates"]}
    assert ("same bytes", True, "again") in of_one and ("altered copy", True, "cropped") in of_one

    page = found(client, limit=3)
    rest = found(client, limit=3, cursor=page["next"])
    assert page["groups"] + rest["groups"] == body["groups"] and rest["next"] is None
    assert [each["class"] for each in found(client, **{"class": "same bytes"})["groups"]] == ["same bytes"]
    assert found(client, group=3)["groups"] == [body["groups"][3]]
    assert client.get("/v1/duplicates", params={"group": 9}).json()["code"] == "unknown-group"
    assert client.get("/v1/duplicates", params={"cursor": "0" * 16 + ":1"}).json()["code"] == "run-gone"

    pair = {"images": [{"id": "second"}, {"id": "small"}]}
    told = client.post("/v1/duplicates/distinct", json=pair).json()
    assert client.post("/v1/duplicates/distinct", json=pair).json()["name"] == told["name"]
    assert "altered copy second" not in copies(found(client))
    assert [each["name"] for each in client.get("/v1/duplicates/distinct").json()["sets"]] == [told["name"]]
    assert client.delete("/v1/duplicates/distinct", params={"name": told["name"]}).status_code == 204
    assert "altered copy second" in copies(found(client))
    seen = {"images": [{"id": "second", "at": f"{gallery.log}:0:77"}, {"id": "small"}]}
    assert client.post("/v1/duplicates/distinct", json=seen).json()["code"] == "replaced"
    assert (
        client.post("/v1/duplicates/distinct", json={"images": [{"id": "second"}, {"id": "nobody"}]}).status_code == 404
    )

    gallery.delete("small")
    gallery.put({"packed": png(scene(9, SIZE))})
    expected = {"same bytes first": ["first", "again"], "altered copy first": ["first", "cropped"]}
    body = wait_for(lambda: (copies(told := found(client)) == expected and told) or None, timeout_s=10)
    assert not body["run"]["current"]
    gallery.delete("first")
    wait_for(lambda: copies(found(client)) == {} or None, timeout_s=10)
    found(client, refresh=True)
    body = wait_for(lambda: ((told := found(client))["run"]["current"] and told) or None, timeout_s=60)
    assert copies(body) == {"altered copy again": ["again", "cropped"]}
    assert body["run"]["unknown"] == 1, "the store has no record of the replaced one"


def test_the_command_prints_what_it_found(running: tuple[Settings, Gallery, httpx.Client]) -> None:
    settings, *_ = running
    command = [sys.executable, "-m", "workers", "duplicates", "--copies-only"]
    environment = {**os.environ, **environment_of(settings)}
    printed = subprocess.run([*command, "--csv"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    rows = list(csv.DictReader(printed.stdout.splitlines()))
    assert [(row["class"], row["id"], row["of"]) for row in rows] == [
        ("altered copy", "again", ""),
        ("altered copy", "cropped", "again"),
    ]
    lost = subprocess.run(
        [*command, "--collection", "nobody"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert lost.returncode == 1 and "There is no collection 'nobody'" in lost.stderr
