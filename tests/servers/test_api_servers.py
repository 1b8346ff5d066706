"""The API on real Kafka and Cassandra: details, originals, writes, timelines, and what OpenAPI promises."""

import hashlib
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from kafka import KafkaConsumer
from PIL import Image

from api.answers.as_of import rfc3339
from contract.messages import INLINE_ORIGINAL_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.store import Store
from model.pictures.images import decode
from stack.programs import environment
from tests.api_gallery import Gallery, answers, digit, free_port, running_api, wait_until
from tests.conftest import fresh_settings
from tests.kafka_topic import topic_log
from tests.keys import add_key
from tests.table_gallery import TableGallery
from topics.topic import ensure_topics

PNG = {"Content-Type": "image/png"}
HOSTILE = {"label": "<img src=x onerror=alert(1)>", "rtl": "\u202eabc"}


@dataclass
class Road:
    """Servers, a gallery that is in index and store, and an API over them."""

    settings: Settings
    gallery: Gallery
    store: Store
    client: httpx.Client

    def put(self, images: dict[str, bytes], metadata: str = "") -> None:
        """Store and index images, as embedder and indexer would after the topic's next records."""
        self.gallery.put(images)
        rows = self.gallery.rows[-len(images) :]
        keys = [row.key for row in rows]
        values = list(images.values())
        originals = [(key, value, 1) for key, value in zip(keys, values, strict=True) if not is_inline(value)]
        self.store.records.write_originals(originals)
        self.store.records.write(record_of(row, value, metadata) for row, value in zip(rows, values, strict=True))
        self.store.feed.write(rows, fingerprint=self.gallery.encoder.fingerprint)


def is_inline(value: bytes) -> bool:
    return len(value) <= INLINE_ORIGINAL_SIZE_BYTES_MAX


def record_of(row: FeedRow, value: bytes, metadata: str) -> ImageRecord:
    picture = decode(value)
    return ImageRecord(
        key=row.key,
        image_id=row.image_id,
        media_type=picture.media_type,
        width=picture.width,
        height=picture.height,
        size_bytes=len(value),
        bytes_sha256=hashlib.sha256(value).digest(),
        pixels_sha256=picture.pixels_sha256,
        metadata=metadata,
        thumbnail=picture.thumbnail,
        original=value if is_inline(value) else None,
        kafka_time_ms=row.kafka_time_ms,
    )


@pytest.fixture(scope="module", params=["exact", pytest.param("cassandra", marks=pytest.mark.thorough)])
def api(request: pytest.FixtureRequest, stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    settings = fresh_settings(stack, tmp_path_factory.mktemp("api"), engine=request.param)
    ensure_topics(settings)
    store = Store.connect(settings)
    gallery = (Gallery if settings.engine == "exact" else TableGallery)(settings, topic_log(settings))
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=30) as client:
        opened = Road(settings, gallery, store, client)
        opened.put({f"digit/{i}": digit(i) for i in range(20)}, json.dumps(HOSTILE))

        def everything_is_up() -> bool:
            ready = client.get("/readyz")
            return ready.status_code == 200 and all(ready.json()["dependencies"].values())

        wait_until(everything_is_up, "the API has reached Kafka and Cassandra")
        yield opened
    store.close()


def test_a_match_carries_what_the_store_knows_of_its_record(api: Road) -> None:
    body = api.client.post("/v1/search?k=5", content=digit(3), headers=PNG).json()
    assert body["degraded"] == []
    first, second, *_ = body["matches"]
    assert (first["id"], first["distance"]) == ("digit/3", 0)
    assert (first["same_bytes"], first["same_pixels"]) == (True, True)
    assert (second["same_bytes"], second["same_pixels"]) == (False, False)
    assert (first["width"], first["height"], first["media_type"]) == (28, 28, "image/png")
    assert first["metadata"] == HOSTILE
    assert set(body["coverage"]["end_offsets"]) == {str(p) for p in range(api.settings.kafka_partitions)}


def test_the_same_pixels_in_other_bytes_are_told_apart(api: Road) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(digit(3))).save(buffer, "PNG", compress_level=0)
    match = api.client.post("/v1/search?k=1", content=buffer.getvalue(), headers=PNG).json()["matches"][0]
    assert (match["id"], match["distance"]) == ("digit/3", 0)
    assert (match["same_bytes"], match["same_pixels"]) == (False, True)


def test_details_thumbnail_and_original_of_an_image(api: Road) -> None:
    details = api.client.get("/v1/images?id=digit/7").json()
    assert details["bytes_sha256"] == hashlib.sha256(digit(7)).hexdigest()
    assert details["size_bytes"] == len(digit(7))
    for address in (details["original_url"], "/v1/images/original?id=digit/7"):
        original = api.client.get(address)
        assert (original.content, original.headers["content-type"]) == (digit(7), "image/png")
        again = api.client.get(address, headers={"If-None-Match": original.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    thumbnail = api.client.get(details["thumbnail_url"])
    assert decode(thumbnail.content).width <= 96


def test_an_original_of_many_chunks_comes_back_byte_for_byte(api: Road) -> None:
    value = digit(4) + bytes(700_000)
    api.put({"large": value})
    wait_until(lambda: api.client.get("/v1/images?id=large").status_code == 200, "large is searchable")
    assert api.client.get("/v1/images/original?id=large").content == value


def test_pictures_of_a_deleted_image_are_gone_whichever_record_is_asked_for(api: Road) -> None:
    api.put({"short-lived": digit(30)})
    wait_until(lambda: api.client.get("/v1/images?id=short-lived").status_code == 200, "it is searchable")
    details = api.client.get("/v1/images?id=short-lived").json()
    assert api.client.get(details["thumbnail_url"]).status_code == 200
    api.gallery.delete("short-lived")
    wait_until(lambda: api.client.get("/v1/images?id=short-lived").status_code == 404, "it is deleted")
    for address in (details["thumbnail_url"], details["original_url"]):
        assert api.client.get(address).json()["code"] == "unknown-image"
    other = details["thumbnail_url"].replace("short-lived", "large")
    assert api.client.get(other).status_code == 404

    if api.settings.engine != "exact":
        return  # which keeps nothing of earlier times
    then = {"id": "short-lived", "as_of": f"0:{details['source']['offset'] + 1}"}
    told = api.client.get("/v1/images", params=then).json()
    assert told["source"] == details["source"] and told["degraded"] == []
    assert api.client.get(told["original_url"]).content == digit(30)
    assert api.client.get(told["thumbnail_url"]).status_code == 200
    found = api.client.post("/v1/search?k=1", params={"as_of": then["as_of"]}, content=digit(30), headers=PNG).json()
    assert found["matches"][0]["id"] == "short-lived" and found["matches"][0]["same_bytes"]
    assert api.client.get(found["matches"][0]["thumbnail_url"]).status_code == 200


def test_pictures_are_shown_of_a_record_that_only_another_machine_covers_yet(api: Road) -> None:
    at = RecordKey(api.gallery.log, 0, 10**9)
    row = FeedRow(at, at.offset, "put", "", "ahead", None, 1)
    api.store.records.write([record_of(row, digit(60), "")])
    for what in ("thumbnail", "original"):
        shown = api.client.get(f"/v1/images/{what}", params={"id": "ahead", "at": f"{at.log}:0:{at.offset}"})
        assert (shown.status_code, decode(shown.content).width) == (200, 28)
        for asked in ({"id": "ahead"}, {"id": "other", "at": f"{at.log}:0:{at.offset}"}):
            assert api.client.get(f"/v1/images/{what}", params=asked).json()["code"] == "unknown-image"


def test_a_time_of_a_moment_ago_is_answered_as_soon_as_kafka_says_that_nothing_of_it_is_missing(api: Road) -> None:
    if api.settings.engine != "exact":
        pytest.skip("it keeps nothing of earlier times")
    now = {"as_of": rfc3339(int(time.time() * 1000)), "wait_ms": "5000"}
    answer = api.client.post("/v1/search", params=now, json={"image_id": "digit/1"}).json()
    assert answer["matches"][0]["id"] == "digit/1"
    assert answer["coverage"]["count"] == api.client.get("/v1/index").json()["count"]


def test_a_write_is_answered_with_where_kafka_has_it(api: Road) -> None:
    raw = api.client.post("/v1/images?id=a/b", content=digit(1), headers=PNG)
    form = api.client.post("/v1/images", files={"file": ("x", digit(2))}, data={"metadata": '{"b": 1}'})
    deleted = api.client.delete("/v1/images?id=a/b")
    written = [response.json() for response in (raw, form, deleted)]
    assert [response.status_code for response in (raw, form, deleted)] == [202, 202, 202]
    assert [answer["id"] for answer in written] == ["a/b", hashlib.sha256(digit(2)).hexdigest(), "a/b"]
    for answer in written:
        assert set(answer) == {"id", "log", "partition", "offset", "min_offsets"}
        assert answer["log"] == api.gallery.log
        assert answer["min_offsets"] == f"{answer['partition']}:{answer['offset'] + 1}"

    consumer = KafkaConsumer(
        api.settings.kafka_topic,
        bootstrap_servers=api.settings.kafka_bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3000,
    )
    stored = {(record.partition, record.offset): record for record in consumer}
    consumer.close()
    records = [stored[answer["partition"], answer["offset"]] for answer in written]
    assert [record.key for record in records] == [b"a/b", None, b"a/b"]
    assert [record.value for record in records] == [digit(1), digit(2), None]
    said = [dict(record.headers) for record in records]
    assert said[1].pop("metadata") == b'{"b":1}' and all(headers.keys() == {"x-request-id"} for headers in said)

    timeline = api.client.get(raw.headers["Location"]).json()
    assert (timeline["id"], timeline["state"]) in {("a/b", "confirmed"), ("a/b", "searchable")}


def test_an_id_of_any_characters_is_published_found_shown_and_deleted(api: Road) -> None:
    ids = ["a/b", "..", "%2F", "?", "#", "a&id=b", "a+b c", "\u202eabc", "🦊", "k" * 256, "é" * 128]
    api.put({image_id: digit(50 + n) for n, image_id in enumerate(ids)})
    wait_until(lambda: api.client.get("/v1/images", params={"id": ids[-1]}).status_code == 200, "they are searchable")
    for n, image_id in enumerate(ids):
        asked = {"id": image_id}
        published = api.client.post("/v1/images", params=asked, content=digit(50 + n), headers=PNG)
        assert (published.status_code, published.json()["id"]) == (202, image_id)
        assert api.client.post("/v1/search?k=1", json={"image_id": image_id}).json()["matches"][0]["id"] == image_id
        details = api.client.get("/v1/images", params=asked).json()
        assert details["id"] == image_id
        for address in (details["thumbnail_url"], details["original_url"]):
            assert api.client.get(address).content == digit(50 + n)
        assert api.client.get("/v1/images/thumbnail", params=asked).status_code == 200
        deleted = api.client.delete("/v1/images", params=asked)
        assert (deleted.status_code, deleted.json()["id"]) == (202, image_id)


def test_a_page_of_the_same_origin_may_write(api: Road) -> None:
    origin = str(api.client.base_url).rstrip("/")
    response = api.client.post("/v1/images?id=own", content=digit(1), headers=PNG | {"Origin": origin})
    assert response.status_code == 202


def test_a_timeline_tells_when_a_record_was_embedded_and_searchable_or_why_it_was_rejected(api: Road) -> None:
    api.put({"timed": digit(40)})
    wait_until(lambda: api.client.get("/v1/images?id=timed").status_code == 200, "it is searchable")
    timeline = api.client.get("/v1/images/timeline?id=timed").json()
    assert timeline["state"] == "searchable"
    assert timeline["confirmed_at"] <= timeline["embedded_at"]
    assert timeline["searchable_at"] is not None

    api.gallery.reject("truncated")
    row = api.gallery.rows[-1]
    api.store.feed.write([row], fingerprint=api.gallery.encoder.fingerprint)
    at = ":".join(map(str, row.key))
    timeline = api.client.get("/v1/images/timeline", params={"id": "bad", "at": at}).json()
    assert (timeline["state"], timeline["reason"]) == ("rejected", "truncated")


def test_schemathesis_finds_nothing_in_the_openapi_document(api: Road, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    # 409 to 422 depend on more than a schema can say: which collections there are, the index's state, what an image's bytes hold.
    config.write_text(
        '[checks.positive_data_acceptance]\nexpected-statuses = ["2xx", "3xx", 400, 403, 404, 409, 410, 412, 413, 415, 422]\n'
    )
    # The document says which operations need a key, so this API has one.
    settings = api.settings.model_copy(update={"keys_file": tmp_path / "keys.json", "api_port": free_port()})
    key = add_key(settings.keys_file, "all", "search", "publish", "admin")
    with running_api(settings) as address:
        run = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                *("--config-file", config),
                *("run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {key}"),
                *("--exclude-path", "/v1/index/events", "--exclude-path", "/v1/watches/events"),  # they never end
                # Each is one of `default` too.
                *("--exclude-path-regex", r"^/v1/collections/\{collection\}/"),
                *("--max-examples", "10", "--seed", "1", "--no-color", "--generation-database", "none"),
            ],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=150,
        )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def test_ctrl_c_ends_all_processes_at_once_although_a_stream_is_open(api: Road, tmp_path: Path) -> None:
    same = {name: getattr(api.settings, name) for name in ("index_dir", "kafka_topic")}
    settings = fresh_settings(api.settings, tmp_path, **same)
    command = [sys.executable, "-m", "api", "serve", "--processes", "2"]
    with subprocess.Popen(command, env=environment(settings), stdout=subprocess.PIPE, text=True) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{settings.api_port}", timeout=30) as client:
                wait_until(lambda: answers(client), "two processes answer", timeout_s=90)
                with client.stream("GET", "/v1/index/events") as events:
                    lines = events.iter_lines()
                    assert next(lines) == "event: index"
                    process.send_signal(2)
                    assert sum(1 for _ in lines) < 100  # the stream ends instead of breaking off
            assert process.wait(10) == 0
        finally:
            process.kill()
        assert "Traceback" not in process.stdout.read()  # type: ignore[union-attr]
