"""Collections on real Kafka and Cassandra: created, told apart, and dropped with all that is theirs and nothing else."""

import io
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from kafka import KafkaConsumer

from contract.collections import Collection, settings_of
from contract.errors import CollectionExistsError, ConfigurationError, UnknownCollectionError
from contract.settings import Settings
from gallery.__main__ import main
from gallery.collections import create_collection, drop_collection
from gallery.generations.collection_file import write_collection
from gallery.generations.writer import lock_index
from gallery.store.store import Store
from tests.api_gallery import Gallery, digit, running_api, wait_until
from tests.conftest import fresh_settings
from tests.kafka_topic import topic_log
from tests.servers.test_api_servers import record_of
from topics.topic import ensure_topics
from workers.__main__ import main as workers

PNG = {"Content-Type": "image/png"}
TABLES = {
    "feed": "log, encoder, kpart, bucket",
    "records": "log, kpart, bucket",
    "originals": "log, kpart, koffset",
    "logs": "topic",
}


@dataclass
class World:
    """Servers with a keyspace of their own, and an API over them."""

    settings: Settings
    store: Store
    client: httpx.Client

    def fill(self, name: str, images: dict[str, bytes]) -> Gallery:
        """Store and index images in a collection, as embedder and indexer would."""
        collection = self.collection(name)
        own = settings_of(self.settings, collection)
        log = topic_log(own)
        write_collection(self.settings, collection)
        gallery = Gallery(own, log)
        gallery.put(images)
        rows = list(zip(gallery.rows, images.values(), strict=True))
        self.store.feed.add_log(topic=own.kafka_topic, log=log)
        self.store.records.write_originals((row.key, value, 1) for row, value in rows)
        self.store.records.write(record_of(row, value, json.dumps({"of": name})) for row, value in rows)
        self.store.feed.write(gallery.rows, fingerprint=gallery.encoder.fingerprint)
        return gallery

    def collection(self, name: str) -> Collection:
        if name == "default":
            return Collection(name=name, encoder=self.settings.encoder, partitions=self.settings.kafka_partitions)
        return self.store.registry.collections()[name]

    def logs_in_tables(self) -> set[str]:
        """First key column of every partition of every table: a log, or in `logs` the topic."""
        with self.store._session.asked("looking") as driver:
            return {
                row[0]
                for table, columns in TABLES.items()
                for row in driver.execute(f"SELECT DISTINCT {columns} FROM {table}")
            }


@pytest.fixture(scope="module")
def world(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("collections")
    settings = fresh_settings(stack, folder, cassandra_keyspace=f"test_{uuid.uuid4().hex[:12]}", kafka_partitions=2)
    ensure_topics(settings)
    store = Store.connect(settings)
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        wait_until(lambda: client.get("/v1/collections/nobody").status_code == 404, "the registry was read")
        yield World(settings, store, client)
    store.close()


def topics(settings: Settings) -> set[str]:
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    try:
        return {name for name in consumer.topics() if name.startswith(settings.kafka_topic)}
    finally:
        consumer.close()


def printed(capsys: pytest.CaptureFixture[str], opening: str) -> Any:
    """The JSON that a command printed, behind what the API in this process has logged."""
    out = capsys.readouterr().out
    return json.loads(out[out.index(f"{opening}\n") :])


def below(name: str) -> str:
    return f"/v1/collections/{name}"


def test_nothing_leaks_from_one_collection_into_another_and_one_goes_alone(world: World) -> None:
    client = world.client
    for name, partitions in (("birds", 1), ("cats", None)):
        made = client.post("/v1/collections", json={"name": name, "encoder": "contrast", "partitions": partitions})
        assert made.status_code == 201, made.text
        assert made.headers["Location"] == below(name)
        assert made.json()["state"] == "waiting" and made.json()["partitions"] == (partitions or 2)
    again = client.post("/v1/collections", json={"name": "cats", "encoder": "contrast"})
    assert (again.status_code, again.json()["code"]) == (409, "collection-exists")
    names = ("birds", "cats", "default")
    galleries = {
        name: world.fill(name, {image_id: digit(3 * place + n) for n, image_id in enumerate("abc")})
        for place, name in enumerate(names)
    }
    for name in names:
        wait_until(lambda name=name: client.get(f"{below(name)}/index").status_code == 200, f"{name} is served")
    for place, name in enumerate(names):
        matches = client.post(f"{below(name)}/search", content=digit(3 * place), headers=PNG).json()["matches"]
        assert (matches[0]["id"], matches[0]["distance"], len(matches)) == ("a", 0, 3)
        for match in matches:
            assert match["metadata"] == {"of": name}
            assert client.get(match["thumbnail_url"]).status_code == 200
        originals = {client.get(f"{below(name)}/images/original", params={"id": i}).content for i in "abc"}
        assert originals == {digit(3 * place + n) for n in range(3)}
        for other in set(names) - {name}:
            at = f"{galleries[other].log}:0:0"
            for what in ("thumbnail", "original", "timeline"):
                answer = client.get(f"{below(name)}/images/{what}", params={"id": "a", "at": at})
                assert (answer.status_code, answer.json()["code"]) == (404, "unknown-image")
        added = client.post(f"{below(name)}/images?id=new", content=digit(50 + place), headers=PNG)
        assert added.status_code == 202 and added.json()["log"] == galleries[name].log
        images = "/v1/images" if name == "default" else f"{below(name)}/images"
        assert added.headers["Location"].startswith(f"{images}/timeline?")
        rejected = client.get(f"{below(name)}/rejected").json()
        assert rejected == {"rejected": [], "degraded": []}

    with client.stream("GET", f"{below('cats')}/index/events") as events:
        lines = events.iter_lines()
        assert any(line.startswith("data: ") for line in lines)
        dropped = httpx.delete(client.base_url.join(below("cats")), params={"confirm": "cats"}, timeout=60)
        assert dropped.status_code == 200, dropped.text
        assert list(lines) is not None  # the stream ends

    answer = client.get(f"{below('cats')}/index")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown-collection")
    assert [each["name"] for each in client.get("/v1/collections").json()["collections"]] == ["birds", "default"]
    assert 'collection="cats"' not in client.get("/metrics").text
    left = {galleries[name].log for name in ("birds", "default")}
    own_topic = {name: settings_of(world.settings, world.collection(name)).kafka_topic for name in ("birds", "default")}
    assert world.logs_in_tables() == left | set(own_topic.values())
    assert not settings_of(world.settings, Collection(name="cats", encoder="", partitions=1)).index_dir.exists()
    assert topics(world.settings) == {
        topic + suffix for topic in own_topic.values() for suffix in ("", ".rejected", ".matches")
    }
    for place, name in enumerate(names):
        if name != "cats":
            found = client.post(f"{below(name)}/search", content=digit(3 * place), headers=PNG).json()["matches"]
            assert found[0]["distance"] == 0 and found[0]["metadata"] == {"of": name}


def test_a_name_that_comes_again_is_another_collection(world: World) -> None:
    with httpx.Client(base_url=world.client.base_url, timeout=60) as client:
        for place in range(2):
            assert client.post("/v1/collections", json={"name": "again", "encoder": "contrast"}).status_code == 201
            world.fill("again", {"x": digit(30 + place)})
            wait_until(lambda: client.get(f"{below('again')}/index").status_code == 200, "it is served")
            match = client.post(f"{below('again')}/search", content=digit(30 + place), headers=PNG).json()["matches"]
            assert [(each["id"], each["distance"]) for each in match] == [("x", 0)]
            assert client.delete(below("again"), params={"confirm": "again"}).status_code == 200


def test_what_was_interrupted_is_finished_by_doing_it_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended at each of its steps; the places are those at which a process can be killed."""

    class KilledError(Exception):
        pass

    def end_at(place: str) -> None:
        def failpoint(name: str) -> None:
            if name == place:
                raise KilledError

        monkeypatch.setattr("gallery.collections.failpoint", failpoint)

    settings, store = world.settings, world.store
    end_at("collection-after-row")
    with pytest.raises(KilledError):
        create_collection(settings, store.registry, name="torn", encoder="contrast")
    end_at("")
    with pytest.raises(CollectionExistsError):
        create_collection(settings, store.registry, name="torn", encoder="photo")
    made = create_collection(settings, store.registry, name="torn", encoder="contrast")
    with pytest.raises(CollectionExistsError):
        create_collection(settings, store.registry, name="torn", encoder="contrast")
    own = settings_of(settings, made)
    assert {own.kafka_topic, own.rejected_topic} <= topics(settings)
    world.fill("torn", {"x": digit(0)})
    log = topic_log(own)
    for place in ("drop-after-mark", "drop-after-topics", "drop-after-rows", "drop-after-index"):
        end_at(place)
        with pytest.raises(KilledError):
            drop_collection(settings, store, "torn")
        with pytest.raises(CollectionExistsError, match="being dropped"):
            create_collection(settings, store.registry, name="torn", encoder="contrast")
    end_at("")
    drop_collection(settings, store, "torn")
    with pytest.raises(UnknownCollectionError):
        drop_collection(settings, store, "torn")
    assert not own.index_dir.exists() and not {own.kafka_topic, own.rejected_topic} & topics(settings)
    assert not {log, own.kafka_topic} & world.logs_in_tables()


def test_a_drop_waits_for_the_indexer(world: World) -> None:
    made = create_collection(world.settings, world.store.registry, name="held", encoder="contrast")
    own = settings_of(world.settings, made)
    world.fill("held", {"x": digit(0)})
    held = lock_index(own.encoder_index_dir)
    assert held is not None
    with pytest.raises(Exception, match="has not let go"):
        drop_collection(world.settings, world.store, "held", wait_s=0.3)
    assert own.encoder_index_dir.exists() and own.kafka_topic in topics(world.settings)
    os.close(held)
    drop_collection(world.settings, world.store, "held", wait_s=5)
    assert not own.index_dir.exists()


def test_the_command_line_creates_lists_and_drops(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("contract.settings.load_settings", lambda: world.settings)
    assert main(["collections", "create", "dogs", "--encoder", "contrast", "--json"]) == 0
    assert printed(capsys, "{")["topic"] == f"{world.settings.kafka_topic}.dogs"
    assert main(["collections", "create", "dogs", "--encoder", "contrast"]) == 1
    assert "already" in capsys.readouterr().err
    world.fill("dogs", {"x": digit(0)})
    assert main(["collections", "list", "--json"]) == 0
    listed = {each["name"]: each for each in printed(capsys, "[")}
    assert listed["dogs"]["count"] == 1 and "default" in listed
    assert main(["stats", "--collection", "dogs"]) == 0
    assert "images      1" in capsys.readouterr().out
    assert workers(["verify", "--collection", "dogs"]) == 0
    assert main(["collections", "show", "nobody"]) == 1
    assert main(["collections", "drop", "default", "--yes"]) == 1
    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.StringIO("cats\n"))
    assert main(["collections", "drop", "dogs"]) == 1
    assert "Nothing was dropped" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("dogs\n"))
    assert main(["collections", "drop", "dogs"]) == 0
    assert main(["stats", "--collection", "dogs"]) == 1
    assert "There is no collection 'dogs'" in capsys.readouterr().err


def test_default_and_long_topics_are_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="cannot be dropped"):
        drop_collection(world.settings, world.store, "default")
    with pytest.raises(CollectionExistsError):
        create_collection(world.settings, world.store.registry, name="default", encoder="contrast")
    long = world.settings.model_copy(update={"kafka_topic": "t" * 200})
    with pytest.raises(ConfigurationError, match="shorter name"):
        create_collection(long, world.store.registry, name="n" * 50, encoder="contrast")
    assert "n" * 50 not in world.store.registry.collections()
