"""Several collections in one API while Kafka and Cassandra are away: what the index folder says is served, and nothing of others."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.collections import Collection, collections_dir, settings_of
from contract.settings import Settings
from gallery.generations.collection_file import COLLECTION, read_collections, write_collection
from tests.api_gallery import Gallery, digit, running_api, settings_for, wait_until

PNG = {"Content-Type": "image/png"}
NAMES = ("birds", "cats", "default")
# The same ids in all of them, and another picture behind each.
IDS = ("a", "b", "c")


def collection(name: str, encoder: str = "contrast") -> Collection:
    return Collection(name=name, encoder=encoder, partitions=1, created_at_ms=1)


def gallery_of(settings: Settings, name: str) -> Gallery:
    """The index of a collection that is noted in the folder."""
    own = settings_of(settings, collection(name))
    write_collection(settings, collection(name))
    return Gallery(own, f"{own.kafka_topic}:log-of-{name}")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_for(tmp_path_factory.mktemp("collections"))


@pytest.fixture(scope="module")
def galleries(settings: Settings) -> dict[str, Gallery]:
    made = {name: gallery_of(settings, name) for name in NAMES}
    for place, gallery in enumerate(made.values()):
        gallery.put({image_id: digit(3 * place + n) for n, image_id in enumerate(IDS)})
    write_collection(settings, collection("nothing-yet"))
    return made


@pytest.fixture(scope="module")
def client(settings: Settings, galleries: dict[str, Gallery]) -> Iterator[httpx.Client]:
    assert galleries
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as opened:
        yield opened


def below(name: str) -> str:
    return f"/v1/collections/{name}"


def test_each_collection_answers_from_its_own_images_with_links_to_itself(
    client: httpx.Client, galleries: dict[str, Gallery]
) -> None:
    for place, name in enumerate(NAMES):
        for n, image_id in enumerate(IDS):
            value = digit(3 * place + n)
            answers = {
                other: client.post(f"{below(other)}/search?k=3", content=value, headers=PNG).json()["matches"]
                for other in NAMES
            }
            found = [(match["id"], match["distance"]) for match in answers[name]]
            assert found[0] == (image_id, 0)
            for other, matches in answers.items():
                assert [match["id"] for match in matches] == [
                    each for each, _ in galleries[other].nearest(galleries[name].embeddings[image_id], 3)
                ]
                assert (matches[0]["distance"] == 0) == (other == name)
                for match in matches:
                    assert match["source"]["log"] == galleries[other].log
                    start = "/v1/images/" if other == "default" else f"{below(other)}/images/"
                    assert match["thumbnail_url"].startswith(f"{start}thumbnail?")


def test_without_a_collection_default_answers(client: httpx.Client) -> None:
    for path in ("/index", "/images?id=a"):
        plain, named = client.get(f"/v1{path}").json(), client.get(f"{below('default')}{path}").json()
        for changing in ("age_s",):
            plain.pop(changing, None), named.pop(changing, None)
        assert plain == named


def test_a_record_of_another_collection_is_none_of_this_one(
    client: httpx.Client, galleries: dict[str, Gallery]
) -> None:
    for name in NAMES:
        other = galleries["cats" if name == "birds" else "birds"]
        for what in ("thumbnail", "original", "timeline"):
            answer = client.get(f"{below(name)}/images/{what}", params={"id": "a", "at": f"{other.log}:0:0"})
            assert (answer.status_code, answer.json()["code"]) == (404, "unknown-image")


def test_a_collection_without_a_generation_says_so(client: httpx.Client) -> None:
    for path in ("/index", "/images?id=a"):
        answer = client.get(below("nothing-yet") + path)
        assert (answer.status_code, answer.json()["code"]) == (503, "no-generation")
    answer = client.post(f"{below('nothing-yet')}/search", content=digit(0), headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (503, "no-generation")


def test_the_list_is_in_the_order_of_names(client: httpx.Client) -> None:
    listed = client.get("/v1/collections").json()["collections"]
    assert [each["name"] for each in listed] == ["birds", "cats", "default", "nothing-yet"]
    assert [each["state"] for each in listed] == ["serving"] * 3 + ["waiting"]
    assert [each["count"] for each in listed] == [3, 3, 3, None]
    assert [each["topic"] for each in listed] == ["images.birds", "images.cats", "images", "images.nothing-yet"]
    assert client.get(below("cats")).json() == listed[1]


def test_nobody_can_tell_of_a_name_that_the_folder_does_not_know(client: httpx.Client) -> None:
    answer = client.get(f"{below('nobody')}/index")
    assert (answer.status_code, answer.json()["code"]) == (503, "cassandra-unavailable")


def test_events_tell_of_one_collection_alone(client: httpx.Client, galleries: dict[str, Gallery]) -> None:
    with client.stream("GET", f"{below('cats')}/index/events") as birds:
        told = (json.loads(line[6:]) for line in birds.iter_lines() if line.startswith("data: "))
        assert next(told)["count"] == 3
        galleries["birds"].put({"d": digit(20)})
        galleries["cats"].put({"d": digit(21), "e": digit(22)})
        state = next(each for each in told if each["count"] != 3)
        assert state["count"] == 5
        assert {image["source"]["log"] for image in state["newest"]} == {galleries["cats"].log}


def test_metrics_name_the_collection(client: httpx.Client) -> None:
    told = client.get("/metrics").text
    for name in NAMES:
        assert f'lookalike_generation{{collection="{name}"}}' in told
    assert 'collection="nothing-yet"' not in told


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "Birds", "encoder": "contrast"}, "bad-collection-name"),
        ({"name": "rejected", "encoder": "contrast"}, "bad-collection-name"),
        ({"name": "x" * 64, "encoder": "contrast"}, "bad-collection-name"),
        ({"name": "../etc", "encoder": "contrast"}, "bad-collection-name"),
        ({"name": "dogs\n", "encoder": "contrast"}, "bad-collection-name"),
        ({"name": 3, "encoder": "contrast"}, "bad-collection-name"),
        ({"encoder": "contrast"}, "bad-collection-name"),
        ({"name": "dogs", "encoder": "nobody"}, "unknown-encoder"),
        ({"name": "dogs", "encoder": "../encoders/contrast"}, "unknown-encoder"),
        ({"name": "dogs"}, "unknown-encoder"),
        ({"name": "dogs", "encoder": "contrast", "partitions": 0}, "bad-partitions"),
        ({"name": "dogs", "encoder": "contrast", "more": 1}, "bad-json"),
        ([], "bad-json"),
    ],
)
def test_what_cannot_be_created_says_why(client: httpx.Client, body: object, code: str) -> None:
    answer = client.post("/v1/collections", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_foreign_pages_neither_create_nor_drop(client: httpx.Client) -> None:
    foreign = {"Origin": "https://elsewhere.example"}
    created = client.post("/v1/collections", json={"name": "dogs", "encoder": "contrast"}, headers=foreign)
    dropped = client.delete(below("cats"), params={"confirm": "cats"}, headers=foreign)
    assert [answer.json()["code"] for answer in (created, dropped)] == ["foreign-origin"] * 2


def test_dropping_wants_the_name_again_and_never_takes_default(client: httpx.Client) -> None:
    answers = [
        client.delete(below(name), params={"confirm": confirm})
        for name, confirm in (("cats", "birds"), ("default", "default"))
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (400, "unconfirmed"),
        (400, "default-collection"),
    ]


def test_a_damaged_file_hides_one_collection_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    for name in ("birds", "cats", "dogs"):
        write_collection(settings, collection(name))
    assert list(read_collections(settings)) == ["birds", "cats", "dogs"]
    damaged = collections_dir(settings) / "cats" / COLLECTION
    whole = damaged.read_bytes()
    for content in (b"", b"{}", whole[:-1], whole.replace(b"contrast", b"contrasT"), b"\xff" * 50):
        damaged.write_bytes(content)
        assert list(read_collections(settings)) == ["birds", "dogs"]
    shutil.copy(collections_dir(settings) / "birds" / COLLECTION, damaged)
    assert list(read_collections(settings)) == ["birds", "dogs"]
    write_collection(settings, collection("cats"))
    assert list(read_collections(settings)) == ["birds", "cats", "dogs"]


def test_an_api_starts_when_only_other_collections_are_used(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    gallery_of(settings, "birds").put({"a": digit(0)})
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["generation"]) == (200, None)
        assert client.get("/v1/index").json()["code"] == "no-generation"
        began_s = time.monotonic()
        gallery_of(settings, "default").put({"a": digit(1)})
        wait_until(lambda: client.get("/readyz").json()["generation"], "default has a generation")
        assert time.monotonic() - began_s < 5
