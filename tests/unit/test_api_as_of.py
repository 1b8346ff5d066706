"""Answers as of an earlier time over HTTP, without Kafka and Cassandra."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from api.answers.as_of import has_come_to, read_as_of, rfc3339
from api.answers.problems import ProblemError
from gallery.generations.history import AsOf
from gallery.generations.manifest import FORMAT, LogCoverage, Manifest, PartitionCoverage
from lookalike_client import ApiError, Client
from lookalike_client.table import neighbours_table
from tests.api_gallery import Gallery, digit, running_api, settings_for
from topics.offsets import EndOffsets

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Offsets 0 to 9: digits; 10 replaces one, 11 deletes another one; then a base; then 12 and 13 do so again."""
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("api")))
    gallery.put({f"digit/{i}": digit(i) for i in range(10)})
    gallery.put({"digit/1": digit(101)})
    gallery.delete("digit/2")
    gallery.rebuild()
    while time.time_ns() // 1_000_000 <= gallery.rows[-1].kafka_time_ms:
        pass  # the next record is of a later millisecond
    gallery.put({"digit/1": digit(201)})
    gallery.delete("digit/3")
    return gallery


@pytest.fixture(scope="module")
def address(gallery: Gallery) -> Iterator[str]:
    with running_api(settings_for(gallery.folder.parents[1])) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


def found(response: httpx.Response) -> dict[str, int]:
    assert response.status_code == 200, response.text
    return {match["id"]: match["source"]["offset"] for match in response.json()["matches"]}


FIRST = {f"digit/{i}": i for i in range(10)}


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("0:0", {}),
        ("0:4", {f"digit/{i}": i for i in range(4)}),
        ("0:10", FIRST),
        ("0:11", FIRST | {"digit/1": 10}),
        ("0:13", {i: o for i, o in FIRST.items() if i != "digit/2"} | {"digit/1": 12}),
    ],
)
def test_offsets_name_the_records_of_an_answer(client: httpx.Client, as_of: str, expected: dict[str, int]) -> None:
    response = client.post("/v1/search", params={"as_of": as_of, "k": 100}, content=digit(0), headers=PNG)
    assert found(response) == expected
    coverage = response.json()["coverage"]
    assert (coverage["as_of"], coverage["count"]) == (as_of, len(expected))
    assert coverage["offsets"] == {"0": int(as_of[2:])}
    assert all("as_of=0%3A" in match["thumbnail_url"] for match in response.json()["matches"])


def test_a_time_names_the_records_up_to_it(gallery: Gallery, client: httpx.Client) -> None:
    at_ms = gallery.rows[11].kafka_time_ms
    for text in (rfc3339(at_ms), datetime.fromtimestamp(at_ms / 1000, UTC).isoformat().replace("+00:00", " 00:00")):
        response = client.post("/v1/search", params={"as_of": text, "k": 100}, content=digit(0), headers=PNG)
        assert found(response) == {i: o for i, o in FIRST.items() if i != "digit/2"} | {"digit/1": 10}
        assert response.json()["coverage"]["offsets"] == {"0": 12}
    before = client.post("/v1/search", params={"as_of": "1999-12-31T23:59:59Z"}, json={"image_id": "digit/1"})
    assert (before.status_code, before.json()["code"]) == (404, "unknown-image")


def test_now_is_answered_as_before(gallery: Gallery, client: httpx.Client) -> None:
    response = client.post("/v1/search", params={"k": 100}, content=digit(0), headers=PNG)
    assert found(response).keys() == gallery.embeddings.keys()
    assert response.json()["coverage"]["as_of"] is None
    assert not any("as_of" in match["thumbnail_url"] for match in response.json()["matches"])


def test_an_id_means_what_it_meant_then(client: httpx.Client) -> None:
    told = client.get("/v1/images", params={"id": "digit/1", "as_of": "0:11"}).json()
    assert told["source"]["offset"] == 10
    assert "as_of=0%3A11" in told["thumbnail_url"] and "as_of=0%3A11" in told["original_url"]
    assert client.get("/v1/images", params={"id": "digit/2"}).status_code == 404
    assert client.get("/v1/images", params={"id": "digit/2", "as_of": "0:11"}).json()["source"]["offset"] == 2
    gone = client.get("/v1/images", params={"id": "digit/2", "as_of": "0:12"})
    assert (gone.status_code, gone.json()["code"]) == (404, "unknown-image")
    by_id = client.post("/v1/search", params={"as_of": "0:11"}, json={"image_id": "digit/1"}).json()
    assert by_id["matches"][0]["source"]["offset"] == 10 and by_id["matches"][0]["distance"] == 0


def test_the_picture_of_a_deleted_image_is_served_only_as_of_a_time_when_it_was_there(client: httpx.Client) -> None:
    for what in ("thumbnail", "original"):
        now, then, after = (
            client.get(f"/v1/images/{what}", params={"id": "digit/2", **given})
            for given in ({}, {"as_of": "0:11"}, {"as_of": "0:12"})
        )
        assert (now.status_code, after.status_code) == (404, 404)
        assert then.json()["code"] == "cassandra-unavailable", "it was looked for"


def test_a_batch_and_a_thorough_search_are_answered_as_of_then_too(client: httpx.Client) -> None:
    queries = {"queries": [{"image_id": "digit/2"}, {"image_id": "nothing"}]}
    batch = client.post("/v1/search/batch", params={"as_of": "0:10", "k": 1}, json=queries).json()
    assert batch["answers"][0]["matches"][0]["source"]["offset"] == 2
    assert batch["answers"][1]["problem"]["code"] == "unknown-image"
    assert batch["coverage"]["as_of"] == "0:10"
    thorough = {"as_of": "0:11", "effort": "thorough", "k": "1"}
    assert found(client.post("/v1/search", params=thorough, content=digit(101), headers=PNG)) == {"digit/1": 10}


@pytest.mark.parametrize(
    ("as_of", "status", "code"),
    [
        ("", 400, "bad-as-of"),
        ("yesterday", 400, "bad-as-of"),
        ("0", 400, "bad-as-of"),
        ("0:1,0:2", 400, "bad-as-of"),
        ("0:-1", 400, "bad-as-of"),
        ("٠:١", 400, "bad-as-of"),
        ("2026-01-31", 400, "bad-as-of"),
        ("2026-01-31T12:00:00", 400, "bad-as-of"),
        ("2026-02-30T12:00:00Z", 400, "bad-as-of"),
        ("0000-01-01T00:00:00Z", 400, "bad-as-of"),
        ("9999-12-31T23:59:59-14:00", 400, "as-of-future"),
        ("9:1", 400, "unknown-partition"),
        ("999999999:1", 400, "unknown-partition"),
        ("0:15", 412, "not-covered"),
        ("1:1", 412, "not-covered"),
    ],
)
def test_what_cannot_be_asked_is_refused(client: httpx.Client, as_of: str, status: int, code: str) -> None:
    for refused in (
        client.post("/v1/search", params={"as_of": as_of}, json={"image_id": "digit/1"}),
        client.get("/v1/images", params={"id": "digit/1", "as_of": as_of}),
    ):
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_the_client_and_the_command_ask_as_of_then(address: str) -> None:
    client = Client(address)
    answer = client.search(digit(2), k=1, as_of="0:10")
    assert (answer.matches[0].id, answer.coverage.as_of, answer.coverage.count) == ("digit/2", "0:10", 10)
    assert neighbours_table(answer).splitlines()[-1].startswith("exact over 10 images as of 0:10, generation ")
    assert client.search_id("digit/2", as_of="0:10", k=1).matches[0].distance == 0
    assert client.image("digit/2", as_of="0:10")["source"]["offset"] == 2
    with pytest.raises(ApiError, match="as of 0:12"):
        client.search_id("digit/2", as_of="0:12")


def test_what_was_dropped_is_refused_with_the_oldest_that_is_kept(tmp_path: Path) -> None:
    gallery = Gallery(settings_for(tmp_path))
    gallery.put({"a": digit(0), "b": digit(1)})
    gallery.put({"a": digit(2)})
    gallery.rebuild(horizon_ms=gallery.rows[-1].kafka_time_ms)
    with running_api(settings_for(tmp_path)) as address, httpx.Client(base_url=address, timeout=30) as client:
        for as_of in ("0:2", rfc3339(gallery.rows[-1].kafka_time_ms - 1)):
            for refused in (
                client.post("/v1/search", params={"as_of": as_of}, json={"image_id": "a"}),
                client.post("/v1/search/batch", params={"as_of": as_of}, json={"queries": [{"image_id": "a"}]}),
                client.get("/v1/images", params={"id": "a", "as_of": as_of}),
                client.get("/v1/images/thumbnail", params={"id": "a", "as_of": as_of}),
            ):
                if as_of == "0:2":
                    assert (refused.status_code, refused.json()["code"]) == (410, "as-of-gone")
                    oldest = refused.json()["oldest"]
                    assert oldest == {"offsets": {"0": 3}, "time": rfc3339(gallery.rows[-1].kafka_time_ms)}
                else:
                    assert refused.status_code == 410
        assert found(client.post("/v1/search", params={"as_of": "0:3"}, json={"image_id": "a"})) == {"a": 2, "b": 1}


def covering(**partitions: tuple[int, int]) -> Manifest:
    """A generation that covers partitions up to (offset, effective time)."""
    logs = [LogCoverage("images:a", {name[1:]: PartitionCoverage(*found) for name, found in partitions.items()})]
    return replace(Manifest.nothing_yet("i", "e", 128, 1, FORMAT), logs=logs)


@pytest.mark.parametrize(
    ("ends", "time_ms", "has_come"),
    [
        (None, 99, True),
        (None, 100, False),  # another record of the same millisecond may come
        (EndOffsets(log="images:a", offsets={0: 5, 1: 7}, stable={}, asked_at_ms=150), 120, True),
        (EndOffsets(log="images:a", offsets={0: 5, 1: 7}, stable={}, asked_at_ms=119), 120, False),
        (EndOffsets(log="images:a", offsets={0: 6, 1: 7}, stable={}, asked_at_ms=150), 120, False),
        (EndOffsets(log="images:a", offsets={0: 6, 1: 9}, stable={}, asked_at_ms=150), 99, True),
        (EndOffsets(log="images:a", offsets={0: 5, 1: 7, 2: 0}, stable={}, asked_at_ms=150), 120, True),
        (EndOffsets(log="images:a", offsets={0: 5, 1: 7, 2: 1}, stable={}, asked_at_ms=150), 99, False),
        (EndOffsets(log="images:b", offsets={0: 0}, stable={}, asked_at_ms=150), 99, False),
    ],
)
def test_a_time_has_come_when_no_record_of_it_can_come_any_more(
    ends: EndOffsets | None, time_ms: int, has_come: bool
) -> None:
    manifest = covering(p0=(5, 100), p1=(7, 200))
    assert has_come_to(manifest, ends, AsOf(time_ms=time_ms)) == has_come


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:01.9999z", 1999),
        ("1970-01-01T02:00:00.5+02:00", 500),
        ("1970-01-01 02:00:00 02:00", 0),
        ("1969-12-31T23:59:59.25Z", -750),
        ("0001-01-01T00:00:00+14:00", -62135647200000),
    ],
)
def test_times_are_read_as_rfc_3339_writes_them(text: str, time_ms: int) -> None:
    assert read_as_of(text, now_ms=10_000).as_of == AsOf(time_ms=time_ms)


def test_a_time_that_has_not_come_is_refused() -> None:
    with pytest.raises(ProblemError, match="Ask for a time that has come"):
        read_as_of("1970-01-01T00:00:10.001Z", now_ms=10_000)
    assert read_as_of(rfc3339(10_000), now_ms=10_000).as_of == AsOf(time_ms=10_000)
