"""Filters, pages and chosen fields over HTTP: what is asked for and nothing else, or a problem that says why not."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api_gallery import Gallery, digit, running_api, settings_for

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """40 digits in a base and 20 in the tail, each with its number modulo 5."""
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("api")))
    gallery.put({f"digit/{i:02}": digit(i) for i in range(40)}, {f"digit/{i:02}": told(i) for i in range(40)})
    gallery.rebuild()
    gallery.put({f"digit/{i:02}": digit(i) for i in range(40, 60)}, {f"digit/{i:02}": told(i) for i in range(40, 60)})
    return gallery


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[httpx.Client]:
    with (
        running_api(settings_for(gallery.folder.parents[1])) as address,
        httpx.Client(base_url=address, timeout=60) as client,
    ):
        yield client


def told(number: int) -> str:
    return json.dumps({"five": number % 5, "tags": ["all", str(number)]})


def five(value: int) -> dict[str, Any]:
    return {"must": [{"key": "five", "match": {"value": value}}]}


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [match["id"] for match in answer.json()["matches"]]


def matched(body: dict[str, Any], number: int) -> bool:
    """Whether the filter is said to hold for so many images, or, where the engine cannot know it, nothing is said."""
    found: int | None = body["coverage"]["matched"]
    return found == number if body["coverage"]["exact"] else found is None


def test_filter_is_taken_as_a_parameter_in_a_form_and_in_json_and_answers_exactly(
    gallery: Gallery, client: httpx.Client
) -> None:
    everything = gallery.nearest(gallery.embeddings["digit/07"], 60)
    expected = [image_id for image_id, _ in everything if int(image_id[-2:]) % 5 == 2][:10]
    text = json.dumps(five(2))
    answers = [
        client.post("/v1/search", params={"filter": text}, content=digit(7), headers=PNG),
        client.post("/v1/search", files={"file": digit(7)}, data={"filter": text}),
        client.post("/v1/search", json={"image_id": "digit/07", "filter": five(2)}),
        client.post("/v1/search", params={"filter": text}, json={"image_id": "digit/07"}),
    ]
    for answer in answers:
        assert ids(answer) == expected
        assert matched(answer.json(), 12)
        assert answer.json()["coverage"]["count"] == 60
    assert client.post("/v1/search", json={"image_id": "digit/07"}).json()["coverage"]["matched"] is None
    one = client.post("/v1/search?effort=thorough", files={"file": digit(7)}, data={"filter": text})
    assert matched(one.json(), 12) and {int(name[-2:]) % 5 for name in ids(one)} == {2}
    none = client.post("/v1/search", json={"image_id": "digit/07", "filter": five(9)})
    assert ids(none) == [] and matched(none.json(), 0)


def test_batch_takes_one_filter_for_all_of_its_queries(client: httpx.Client) -> None:
    queries = [{"image_id": "digit/07"}, {"image_id": "digit/41"}]
    body = client.post("/v1/search/batch?k=3", json={"queries": queries, "filter": five(1)}).json()
    alone = [client.post("/v1/search?k=3", json={**query, "filter": five(1)}).json() for query in queries]
    assert [answer["matches"] for answer in body["answers"]] == [answer["matches"] for answer in alone]
    assert matched(body, 12)
    files = [("file", digit(7)), ("file", digit(8))]
    form = client.post("/v1/search/batch?k=3", files=files, data={"filter": json.dumps(five(1))})
    assert matched(form.json(), 12)
    missing = client.post("/v1/search/batch", json={"queries": [{"image_id": "none"}], "filter": five(1)}).json()
    assert missing["answers"][0]["problem"]["code"] == "unknown-image" and matched(missing, 12)


@pytest.mark.parametrize("how", ["parameter", "form", "json", "batch"])
def test_wrong_filter_gets_400_and_its_place_is_named(client: httpx.Client, how: str) -> None:
    wrong = {"must": [{"key": "five", "range": {"gt": "4"}}]}
    ways: dict[str, dict[str, Any]] = {
        "parameter": {"params": {"filter": json.dumps(wrong)}, "json": {"image_id": "digit/07"}},
        "form": {"files": {"file": digit(7)}, "data": {"filter": json.dumps(wrong)}},
        "json": {"json": {"image_id": "digit/07", "filter": wrong}},
        "batch": {"json": {"queries": [{"image_id": "digit/07"}], "filter": wrong}},
    }
    answer = client.post("/v1/search/batch" if how == "batch" else "/v1/search", **ways[how])
    assert answer.status_code == 400 and answer.json()["code"] == "bad-filter"
    assert answer.json()["detail"].startswith("filter.must[0].range.gt: ")


def test_filter_that_is_given_twice_is_refused(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/search", params={"filter": json.dumps(five(1))}, json={"image_id": "digit/07", "filter": five(1)}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-filter")


def test_pages_of_one_generation_are_the_whole_order_whatever_comes_meanwhile(tmp_path_factory: Any) -> None:
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("pages")))
    gallery.put({f"digit/{i:02}": digit(i) for i in range(30)})
    settings = settings_for(gallery.folder.parents[1])
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        whole = client.post("/v1/search?k=1000", json={"image_id": "digit/07"})
        assert len(ids(whole)) == 30
        pinned = whole.json()["coverage"]["generation"]
        seen: list[str] = []
        for page in range(4):
            gallery.put({f"digit/{40 + page}": digit(40 + page)})
            if page == 1:
                gallery.rebuild()
            answer = client.post(
                "/v1/search", params={"k": 9, "offset": 9 * page, "generation": pinned}, json={"image_id": "digit/07"}
            )
            seen += ids(answer)
            assert answer.json()["coverage"]["generation"] == pinned
        assert seen == ids(whole)
        covered = gallery.writer.manifest.generation
        # Nobody was answered from it here, so it is opened from its folder.
        assert len(ids(client.post(f"/v1/search?k=99&generation={covered - 2}", json={"image_id": "digit/07"}))) == 32
        gone = client.post("/v1/search?generation=999999", json={"image_id": "digit/07"})
        assert (gone.status_code, gone.json()["code"]) == (410, "generation-gone")
        both = client.post("/v1/search?generation=1&min_offsets=0:1", json={"image_id": "digit/07"})
        assert (both.status_code, both.json()["code"]) == (400, "generation-and-min-offsets")


def test_with_asks_for_less_and_the_rest_is_absent(client: httpx.Client) -> None:
    query = {"image_id": "digit/07"}
    whole = client.post("/v1/search", json=query).json()
    some = client.post("/v1/search?with=thumbnail_url,source", json=query).json()
    wanted = ("id", "distance", "thumbnail_url", "source")
    assert [set(match) for match in some["matches"]] == [set(wanted)] * 10
    assert some["matches"] == [{name: match[name] for name in wanted} for match in whole["matches"]]
    assert some["degraded"] == [] and whole["degraded"] == ["metadata"], "the store, which is away here, was not asked"
    assert set(some) == set(whole) and some["coverage"] == whole["coverage"]
    bare = client.post("/v1/search?with=", json=query).json()["matches"]
    assert [set(match) for match in bare] == [{"id", "distance"}] * 10
    wrong = client.post("/v1/search?with=metadata,colour", json=query)
    assert (wrong.status_code, wrong.json()["code"]) == (400, "bad-with") and "'colour'" in wrong.json()["detail"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("k=1001", "bad-k"),
        ("offset=-1", "bad-offset"),
        ("offset=9001", "bad-offset"),
        ("generation=x", "bad-generation"),
        ("k=101&explain=true", "too-many-matches"),
        ("k=50&offset=60&effort=thorough", "too-many-matches"),
    ],
)
def test_what_would_cost_too_much_or_mean_nothing_is_refused(client: httpx.Client, asked: str, code: str) -> None:
    answer = client.post(f"/v1/search?{asked}", content=digit(7), headers=PNG)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("name", ["offset", "generation", "with"])
def test_batch_refuses_what_it_does_not_take(client: httpx.Client, name: str) -> None:
    answer = client.post(f"/v1/search/batch?{name}=1", json={"queries": [{"image_id": "digit/07"}]})
    assert (answer.status_code, answer.json()["code"]) == (400, f"{name}-in-batch")
