"""`/v1/watches` while Kafka and Cassandra are away: what is wrong is told before they are asked."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api.answers.watches import created_answer, watch_answer
from gallery.store.watches import StoredWatch, WatchStart
from tests.api_gallery import Gallery, digit, running_api, settings_for

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = settings_for(Path(tmp_path_factory.mktemp("watches")))
    Gallery(settings).put({"a": digit(0)})
    with running_api(settings) as address, httpx.Client(base_url=f"{address}/v1", timeout=30) as opened:
        yield opened


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "bad-json"),
        ("[]", "bad-json"),
        ('{"max_distance": 1}', "bad-query"),
        ('{"max_distance": 1, "image_id": "a", "embedding": [1]}', "bad-query"),
        ('{"image_id": "a"}', "bad-max-distance"),
        ('{"image_id": "a", "max_distance": -1}', "bad-max-distance"),
        ('{"image_id": "a", "max_distance": 1e999}', "bad-max-distance"),
        ('{"image_id": "", "max_distance": 1}', "bad-image-id"),
        ('{"embedding": [], "max_distance": 1}', "bad-embedding"),
        ('{"embedding": [1, 2], "max_distance": 1}', "bad-embedding"),
        ('{"image_id": "a", "max_distance": 1, "name": "%s"}' % ("x" * 201), "bad-name"),
        ('{"image_id": "a", "max_distance": 1, "webhook": "ftp://x"}', "bad-webhook"),
        ('{"image_id": "a", "max_distance": 1, "webhook": "http://user:password@x"}', "bad-webhook"),
        ('{"image_id": "a", "max_distance": 1, "webhook": "http://[x"}', "bad-webhook"),
        ('{"image_id": "a", "max_distance": 1, "filter": {"must": [{"range": {}}]}}', "bad-filter"),
        ('{"image_id": "a", "max_distance": 1, "surprise": 1}', "bad-surprise"),
    ],
)
def test_what_is_wrong_with_a_watch_is_named(client: httpx.Client, body: str, code: str) -> None:
    answer = client.post("/watches", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize(
    "webhook",
    [
        "http://me:s3cret@x.test/",
        "ftp://x.test/s3cret",
        "http://[s3cret",
        "http://x.test/ s3cret",
        "http://x/s3cret" + "x" * 2000,
    ],
)
def test_no_answer_repeats_a_webhook_that_is_refused(client: httpx.Client, webhook: str) -> None:
    told = {"image_id": "a", "max_distance": 1, "webhook": webhook}
    parameters = {"max_distance": "1", "webhook": webhook}
    for answer in (
        client.post("/watches", json=told),
        client.post("/watches", params=parameters, content=digit(0), headers=PNG),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-webhook")
        assert "s3cret" not in answer.text


def test_where_a_watch_tells_is_known_to_its_maker_alone() -> None:
    watch = StoredWatch(
        topic="images", id="w", name="", embedding=b"", encoder="", max_distance=1, created_at_ms=1, secret="s3cret",
        webhook="https://x.test/s3cret?s3cret", start=WatchStart("", {}),
    )  # fmt: skip
    assert watch_answer(watch).webhook == "https://x.test/***"
    for told in (watch_answer(watch).model_dump_json(), repr(watch)):
        assert "s3cret" not in told
    made = created_answer(watch)
    assert (made.webhook, made.secret) == (watch.webhook, watch.secret)


def test_a_watch_is_not_promised_while_kafka_cannot_be_asked(client: httpx.Client) -> None:
    answer = client.post("/watches", params={"max_distance": 1}, content=digit(0), headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (503, "kafka-unavailable")
    assert client.post("/watches", content=digit(0), headers=PNG).json()["code"] == "missing-max-distance"
    assert client.post("/watches?max_distance=1", content=b"no image", headers=PNG).status_code == 415


def test_a_foreign_page_makes_and_deletes_no_watch(client: httpx.Client) -> None:
    foreign = {**PNG, "origin": "http://evil.test"}
    answer = client.post("/watches", params={"max_distance": 1}, content=digit(0), headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin")
    answer = client.delete(f"/watches/{'a' * 32}", headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "foreign-origin")


@pytest.mark.parametrize("path", ["/watches", f"/watches/{'a' * 32}", f"/watches/{'a' * 32}/matches"])
def test_without_cassandra_watches_are_unavailable(client: httpx.Client, path: str) -> None:
    assert client.get(path).json()["code"] == "cassandra-unavailable"
    assert client.get("/watches/NOT-AN-ID").json()["code"] == "bad-id"
