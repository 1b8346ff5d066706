"""Search over HTTP without Kafka and Cassandra: answers are exact, say what they cover, and go on."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.api_gallery import Gallery, digit, running_api, settings_for, wait_until

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """300 digits in a base, 50 in the tail."""
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("api")))
    gallery.put({f"digit/{i}": digit(i) for i in range(300)})
    gallery.rebuild()
    gallery.put({f"digit/{i}": digit(i) for i in range(300, 350)})
    return gallery


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[httpx.Client]:
    with (
        running_api(settings_for(gallery.folder.parents[1])) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def test_a_search_by_embedding_equals_brute_force(gallery: Gallery, client: httpx.Client) -> None:
    rng = np.random.default_rng(7)
    known = list(gallery.embeddings.values())
    for _ in range(50):
        query = (known[rng.integers(len(known))] + rng.normal(0, rng.choice([0.01, 1, 30]), 128)).astype(np.float32)
        k = int(rng.integers(1, 101))
        body = client.post(f"/v1/search?k={k}", json={"embedding": query.tolist()}).json()
        expected = gallery.nearest(query, k)
        assert [match["id"] for match in body["matches"]] == [image_id for image_id, _ in expected]
        assert [match["distance"] for match in body["matches"]] == pytest.approx([d for _, d in expected])


def test_an_image_finds_itself_in_every_form_of_the_request(client: httpx.Client) -> None:
    raw = client.post("/v1/search?k=3", content=digit(320), headers=PNG)
    form = client.post("/v1/search?k=3", files={"file": ("x.png", digit(320))})
    by_id = client.post("/v1/search?k=3", json={"image_id": "digit/320"})
    for response in (raw, form, by_id):
        assert response.status_code == 200, response.text
        assert response.json()["matches"][0]["id"] == "digit/320"
        assert response.json()["matches"][0]["distance"] == 0
    assert raw.json()["matches"] == form.json()["matches"] == by_id.json()["matches"]
    assert set(raw.json()["timing_ms"]) == {"decode", "encode", "search", "lookup", "total"}


def test_max_distance_leaves_farther_images_out(client: httpx.Client) -> None:
    everything = client.post("/v1/search?k=20", json={"image_id": "digit/5"}).json()["matches"]
    limit = everything[4]["distance"]
    near = client.post("/v1/search", params={"k": 20, "max_distance": limit}, json={"image_id": "digit/5"}).json()
    assert near["matches"] == everything[:5]


def test_without_cassandra_ids_and_distances_are_answered_and_metadata_is_named_degraded(client: httpx.Client) -> None:
    body = client.post("/v1/search", content=digit(1), headers=PNG).json()
    assert body["degraded"] == ["metadata"]
    assert all(match["metadata"] is None and match["same_bytes"] is None for match in body["matches"])
    assert body["coverage"]["end_offsets"] is None
    assert client.get("/readyz").status_code == 200
    thumbnail = client.get("/v1/images/thumbnail", params={"id": "digit/1"})
    assert (thumbnail.status_code, thumbnail.json()["code"]) == (503, "cassandra-unavailable")


def test_without_kafka_a_write_claims_nothing(client: httpx.Client) -> None:
    response = client.post("/v1/images?id=x", content=digit(1), headers=PNG)
    assert (response.status_code, response.json()["code"]) == (503, "kafka-unconfirmed")
    assert response.headers["Retry-After"]


def test_min_offsets_that_are_covered_are_answered_at_once(client: httpx.Client) -> None:
    response = client.post("/v1/search?min_offsets=0:350,1:0", json={"image_id": "digit/5"})
    assert response.json()["coverage"]["offsets"] == {"0": 350}


def test_min_offsets_beyond_the_index_are_refused_with_its_coverage(client: httpx.Client) -> None:
    response = client.post("/v1/search?min_offsets=0:351&wait_ms=50", json={"image_id": "digit/5"})
    assert (response.status_code, response.json()["code"]) == (412, "not-covered")
    assert response.json()["coverage"]["offsets"] == {"0": 350}
    assert response.headers["Retry-After"]


def test_a_waiting_search_is_woken_by_the_generation_that_covers_it(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({"first": digit(0)})
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        client.post("/v1/search", content=digit(0), headers=PNG)  # the decoder child has started
        answers = []

        def ask() -> None:
            url = f"{address}/v1/search?min_offsets=0:2&wait_ms=5000"
            answers.append((httpx.post(url, content=digit(1), headers=PNG, timeout=30), time.monotonic()))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.2)  # the search is waiting by now; if it is not, it is answered at once and the test still holds
        gallery.put({"second": digit(1)})
        published = time.monotonic()
        asking.join()
        response, answered = answers[0]
        assert response.json()["matches"][0]["id"] == "second"
        assert answered - published < 1.0


def test_replaced_deleted_and_new_images_show_in_the_next_generation(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({f"{i}": digit(i) for i in range(5)})
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:

        def ids(number: int) -> list[str]:
            covered = gallery.writer.manifest.offsets["0"]
            url = f"/v1/search?k=1&wait_ms=5000&min_offsets=0:{covered}"
            return [m["id"] for m in client.post(url, content=digit(number), headers=PNG).json()["matches"]]

        assert ids(3) == ["3"]
        gallery.delete("3")
        assert ids(3) != ["3"]
        gallery.put({"3": digit(9)})
        assert ids(9) == ["3"]
        gallery.rebuild()
        assert ids(9) == ["3"]


def test_the_index_answer_and_its_events_follow_the_generations(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({"a": digit(0)})
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        with client.stream("GET", "/v1/index/events") as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            lines = events.iter_lines()

            def next_index() -> dict[str, object]:
                assert next(line for line in lines if line.startswith("event:")) == "event: index"
                return dict(json.loads(next(lines).removeprefix("data: ")))

            assert next_index()["count"] == 1
            gallery.put({"b": digit(1), "c": digit(2)})
            gallery.reject("truncated")
            while (index := next_index())["rejected"] != {"truncated": 1}:
                pass
        assert index["count"] == 3
        assert [newest["id"] for newest in index["newest"]] == ["c", "b", "a"]  # type: ignore[attr-defined]
        assert index["freshness_ms"]["count"] == 2  # type: ignore[index]
        assert index["lag"] is None
        found = client.get("/v1/index").json()
        assert {**found, "age_s": 0, "rates": 0} == {**index, "age_s": 0, "rates": 0}
        timeline = client.get("/v1/images/timeline?id=b").json()
        assert timeline["state"] == "searchable"
        assert timeline["searchable_at"] >= timeline["confirmed_at"]


def test_an_api_that_started_before_the_first_generation_is_not_ready_until_it_comes(tmp_path: Path) -> None:
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert client.get("/livez").status_code == 200
        for response in (client.get("/readyz"), client.get("/v1/index"), client.get("/v1/images?id=a")):
            assert (response.status_code, response.json()["code"]) == (503, "no-generation")
        Gallery(settings_for(tmp_path)).put({"a": digit(0)})
        wait_until(lambda: client.get("/v1/index").json().get("count") == 1, "the image's generation")
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/search", json={"image_id": "a"}).json()["matches"][0]["id"] == "a"


def test_api_that_starts_while_nobody_can_say_who_answers_says_so_and_heals(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({"a": digit(1)})
    serving = gallery.folder.parent / "SERVING"
    serving.mkdir()
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        refused = client.post("/v1/search", json={"image_id": "a"})
        assert refused.status_code == 503 and "SERVING" in refused.json()["detail"]
        serving.rmdir()
        wait_until(lambda: client.post("/v1/search", json={"image_id": "a"}).status_code == 200, "it answers")


def test_image_whose_newest_record_is_set_aside_says_so(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({"a": digit(1)})
    for image_id in ("a", "b"):
        gallery._add("put", image_id, b"no embedding")
    gallery._publish()
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert client.post("/v1/search", json={"image_id": "a"}).json()["coverage"]["set_aside"] == 2
        newest = client.get("/v1/images", params={"id": "a"}).json()["newest_not_shown"]
        assert newest == {"log": gallery.log, "partition": 0, "offset": 1, "reason": "embedding-length"}
        missing = client.get("/v1/images", params={"id": "b"})
        assert missing.status_code == 404
        assert "embedding-length" in missing.json()["detail"]
        gallery.put({"a": digit(2)})
        wait_until(
            lambda: client.get("/v1/images", params={"id": "a"}).json()["newest_not_shown"] is None, "it is shown"
        )
