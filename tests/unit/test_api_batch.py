"""Many queries at once: each as if asked alone, all from one generation."""

import json
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from tests.api_gallery import Gallery, digit, running_api, settings_for


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """200 digits in a base, 100 in the tail."""
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("api")))
    gallery.put({f"digit/{i}": digit(i) for i in range(200)})
    gallery.rebuild()
    gallery.put({f"digit/{i}": digit(i) for i in range(200, 300)})
    return gallery


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[httpx.Client]:
    with (
        running_api(settings_for(gallery.folder.parents[1])) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def files(*values: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("file", (f"{n}.png", value)) for n, value in enumerate(values)]


def test_256_images_get_the_answers_that_each_alone_would_get(client: httpx.Client) -> None:
    values = [digit(1000 + n) for n in range(256)]
    body = client.post("/v1/search/batch?k=3", files=files(*values)).json()
    assert len(body["answers"]) == 256
    for n in range(0, 256, 17):
        alone = client.post("/v1/search?k=3", content=values[n], headers={"Content-Type": "image/png"}).json()
        assert body["answers"][n] == {"matches": alone["matches"], "problem": None}
        assert body["coverage"] == alone["coverage"]


def test_256_embeddings_and_ids_equal_brute_force(gallery: Gallery, client: httpx.Client) -> None:
    rng = np.random.default_rng(1)
    known = dict(list(gallery.embeddings.items())[:128])
    random = [rng.normal(0, 3, 128).astype(np.float32) for _ in range(128)]
    queries = [{"image_id": image_id} for image_id in known] + [{"embedding": query.tolist()} for query in random]
    body = client.post("/v1/search/batch?k=10", json={"queries": queries}).json()
    for query, answer in zip([*known.values(), *random], body["answers"], strict=True):
        expected = gallery.nearest(query, 10)
        assert [match["id"] for match in answer["matches"]] == [image_id for image_id, _ in expected]
        assert [match["distance"] for match in answer["matches"]] == pytest.approx([d for _, d in expected])


def test_a_query_that_cannot_be_answered_costs_the_others_nothing(client: httpx.Client) -> None:
    images = client.post("/v1/search/batch", files=files(digit(1), b"%PDF-1.7", digit(2)[:60], digit(3))).json()
    codes = [answer["problem"] and answer["problem"]["code"] for answer in images["answers"]]
    assert codes == [None, "unsupported-type", "truncated", None]
    assert [answer["matches"] is None for answer in images["answers"]] == [False, True, True, False]
    asked = {"queries": [{"image_id": "digit/1"}, {"image_id": "nobody"}]}
    by_id = client.post("/v1/search/batch", json=asked).json()
    assert by_id["answers"][0]["matches"][0]["id"] == "digit/1"
    assert by_id["answers"][1]["problem"]["code"] == "unknown-image"
    assert by_id["answers"][1]["problem"]["status"] == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[]", "bad-queries"),
        ('{"queries": []}', "bad-queries"),
        ('{"queries": {}}', "bad-queries"),
        ('{"queries": [1], "k": 1}', "bad-queries"),
        ('{"queries": [{"image_id": "a"}, 5]}', "bad-query"),
        ('{"queries": [{"embedding": [1]}]}', "bad-embedding"),
        ('{"queries": [{"image_id": ""}]}', "bad-image-id"),
        (json.dumps({"queries": [{"image_id": "a"}] * 257}), "bad-queries"),
        ("{", "bad-json"),
    ],
)
def test_a_malformed_batch_is_refused_as_a_whole(client: httpx.Client, body: str, code: str) -> None:
    response = client.post("/v1/search/batch", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_a_batch_that_asks_for_too_much_is_refused(client: httpx.Client) -> None:
    many = client.post("/v1/search/batch?k=100", json={"queries": [{"image_id": "digit/1"}] * 26})
    assert (many.status_code, many.json()["code"]) == (400, "too-many-matches")
    form = client.post("/v1/search/batch?k=1", files=files(*[digit(0)] * 257))
    assert (form.status_code, form.json()["code"]) == (400, "bad-multipart")
    large = client.post("/v1/search/batch", files=files(*[b"\x89PNG\r\n\x1a\n" + bytes(8 * 2**20 - 100)] * 5))
    assert (large.status_code, large.json()["code"]) == (413, "too-large")
    wrong = client.post("/v1/search/batch", content=digit(0), headers={"Content-Type": "image/png"})
    assert (wrong.status_code, wrong.json()["code"]) == (415, "unsupported-content-type")
