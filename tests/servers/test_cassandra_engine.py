"""A collection whose engine is Cassandra, from its creation to its end, with a real embedder and indexer."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from contract.collections import settings_of
from contract.settings import Settings
from gallery.store.store import Store
from gallery.table.reader import newest_table
from gallery.verify import verify
from lookalike_client import Client
from stack.programs import environment
from tests.api_gallery import digit, running_api, wait_until
from tests.conftest import fresh_settings
from tests.parts import Parts
from tests.waiting import wait_for
from topics.topic import ensure_topics
from workers.__main__ import main

PNG = {"Content-Type": "image/png"}
BELOW = "/v1/collections/vast"


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    return fresh_settings(
        stack,
        tmp_path,
        cassandra_keyspace=f"{stack.cassandra_keyspace}_vast",
        kafka_partitions=2,
        recall_rows_per_s=100_000,
    )


@pytest.fixture
def parts(settings: Settings) -> Iterator[Parts]:
    """Running programs."""
    ensure_topics(settings)
    made = Parts(settings, [])
    made.start("embedder", "indexer", "watcher")
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def client(settings: Settings, parts: Parts) -> Iterator[httpx.Client]:
    """An API over them."""
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        wait_until(lambda: client.get("/v1/collections/nobody").status_code == 404, "the registry was read")
        yield client


def _index(client: httpx.Client) -> dict[str, Any] | None:
    """What the API tells of the collection's index, once it has it."""
    answer = client.get(f"{BELOW}/index")
    return answer.json() if answer.status_code == 200 else None


def test_a_collection_of_cassandras_engine_is_created_filled_searched_and_dropped(
    client: httpx.Client, settings: Settings
) -> None:
    made = client.post("/v1/collections", json={"name": "vast", "encoder": "contrast", "engine": "cassandra"})
    assert (made.status_code, made.json()["engine"]) == (201, "cassandra")
    assert client.post("/v1/collections", json={"name": "x", "encoder": "contrast", "engine": "no"}).status_code == 400
    nothing_yet = wait_for(lambda: _index(client))
    assert (nothing_yet["count"], nothing_yet["age_s"] < 600) == (0, True)
    written = [publish(client, f"digit/{n}", digit(n)) for n in range(30)]
    body = search(client, digit(7), written)
    assert body["matches"][0]["id"] == "digit/7" and body["matches"][0]["same_bytes"]
    assert (body["coverage"]["exact"], body["coverage"]["count"]) == (False, 30)

    replaced = publish(client, "digit/7", digit(40))
    deleted = client.delete(f"{BELOW}/images", params={"id": "digit/8"}).json()
    body = search(client, digit(40), [replaced, deleted])
    assert body["matches"][0]["id"] == "digit/7" and body["coverage"]["count"] == 29
    assert "digit/8" not in [match["id"] for match in body["matches"]]
    assert client.get(f"{BELOW}/images", params={"id": "digit/8"}).status_code == 404

    details = client.get(f"{BELOW}/images", params={"id": "digit/7"}).json()
    assert len(details["history"]) == 2
    assert client.get(details["original_url"]).content == digit(40)
    assert details["degraded"] == [] and details["duplicates"] == []
    timeline = client.get(f"{BELOW}/images/timeline", params={"id": "digit/7"}).json()
    assert timeline["state"] == "searchable"

    refused = client.post(f"{BELOW}/images?id=bad", content=digit(1)[:60], headers=PNG).json()
    search(client, digit(1), [refused])
    assert [each["key"] for each in client.get(f"{BELOW}/rejected").json()["rejected"]] == ["bad"]
    assert sum(client.get(f"{BELOW}/index").json()["rejected"].values()) == 1

    with closing(Store.connect(settings)) as own:
        collection = own.registry.collections()["vast"]
        snapshot = newest_table(own, settings_of(settings, collection))
        assert snapshot is not None and verify(snapshot, own.feed).differences == []
        assert client.delete(f"{BELOW}?confirm=vast").status_code == 200
        assert not snapshot.table.is_there()
        assert own.embedding_tables.of_topic(settings_of(settings, collection).kafka_topic) == []


def test_watches_are_told_and_what_somebody_took_from_the_table_is_repaired(
    client: httpx.Client, settings: Settings, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = client.post("/v1/collections", json={"name": "vast", "encoder": "contrast", "engine": "cassandra"})
    assert made.status_code == 201
    wait_for(lambda: _index(client))
    gallery = Client(settings.api_address, collection="vast")
    watch = gallery.watch(digit(3), max_distance=0.0)
    written = [publish(client, f"digit/{n}", digit(n)) for n in range(10)]
    assert [match.image for match in wait_for(lambda: gallery.matches(watch.id) or None)] == ["digit/3"]
    search(client, digit(3), written)

    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    compare = ["verify", "--topic", "--collection", "vast"]
    assert main(compare) == 0
    with closing(Store.connect(settings)) as own:
        snapshot = newest_table(own, settings_of(settings, own.registry.collections()["vast"]))
        assert snapshot is not None
        with own.embedding_tables.session.asked("taking a row away") as driver:
            driver.execute(f"DELETE FROM {snapshot.table.name} WHERE image_id = 'digit/3'")
    assert main(compare) == 1
    assert main([*compare, "--repair"]) == 1

    def is_repaired() -> bool | None:
        parts.restart_what_ended()
        return main(compare) == 0 or None

    wait_for(is_repaired)
    wait_for(lambda: search(client, digit(3), written)["matches"][0]["id"] == "digit/3" or None)
    assert search(client, digit(3), written)["coverage"]["count"] == 10


def publish(client: httpx.Client, image_id: str, value: bytes) -> dict[str, Any]:
    answer = client.post(f"{BELOW}/images", params={"id": image_id}, content=value, headers=PNG)
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


def search(client: httpx.Client, value: bytes, written: list[dict[str, Any]]) -> dict[str, Any]:
    """Once it covers what was written."""
    wanted = ",".join(each["min_offsets"] for each in written)

    def answered() -> dict[str, Any] | None:
        answer = client.post(
            f"{BELOW}/search", params={"min_offsets": wanted, "wait_ms": 5000}, content=value, headers=PNG
        )
        return answer.json() if answer.status_code == 200 else None

    wait_until(answered, "what was written is covered", timeout_s=60)
    told = answered()
    assert told is not None
    return told
