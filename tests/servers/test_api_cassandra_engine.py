"""What the tests of searches and filters say of the exact engine, said of Cassandra's; and what is its own."""

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from contract.settings import Settings
from tests.api_gallery import digit, wait_until
from tests.table_gallery import TableGallery, table_api
from tests.unit.test_api_search import (
    test_a_search_by_embedding_equals_brute_force as test_a_search_by_embedding_equals_brute_force,
)
from tests.unit.test_api_search import (
    test_an_image_finds_itself_in_every_form_of_the_request as test_an_image_finds_itself_in_every_form_of_the_request,
)
from tests.unit.test_api_search import (
    test_max_distance_leaves_farther_images_out as test_max_distance_leaves_farther_images_out,
)
from tests.unit.test_api_search import (
    test_min_offsets_beyond_the_index_are_refused_with_its_coverage as test_min_offsets_beyond_the_index_are_refused_with_its_coverage,
)
from tests.unit.test_api_search import (
    test_min_offsets_that_are_covered_are_answered_at_once as test_min_offsets_that_are_covered_are_answered_at_once,
)

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def api(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TableGallery, httpx.Client]]:
    metadata = {f"digit/{i}": json.dumps({"five": i % 5}) for i in range(350)}
    with table_api(stack, tmp_path_factory.mktemp("api"), 350, metadata) as opened:
        yield opened


@pytest.fixture
def gallery(api: tuple[TableGallery, httpx.Client]) -> TableGallery:
    return api[0]


@pytest.fixture
def client(api: tuple[TableGallery, httpx.Client]) -> httpx.Client:
    return api[1]


def test_coverage_says_that_the_answer_is_not_exact_and_how_many_candidates_there_were(client: httpx.Client) -> None:
    said = {
        effort: client.post(f"/v1/search?effort={effort}", json={"image_id": "digit/5"}).json()["coverage"]
        for effort in ("normal", "high")
    }
    assert {coverage["exact"] for coverage in said.values()} == {False}
    assert said["normal"]["candidates"] < said["high"]["candidates"]
    assert said["normal"]["count"] == 350 and said["normal"]["offsets"] == {"0": 350}


def test_filters_by_value_are_asked_of_cassandra_and_others_of_its_candidates(
    gallery: TableGallery, client: httpx.Client
) -> None:
    everything = [image_id for image_id, _ in gallery.nearest(gallery.embeddings["digit/7"], 350)]
    number = {image_id: int(image_id.split("/")[1]) % 5 for image_id in everything}
    asked: dict[str, Callable[[int], bool]] = {
        '{"must": {"key": "five", "match": {"value": 2}}}': lambda n: n == 2,
        '{"must": {"key": "five", "match": {"any": [2, 3]}}}': lambda n: n in (2, 3),
        '{"must_not": {"key": "five", "range": {"lt": 4}}}': lambda n: n == 4,
    }
    for text, holds in asked.items():
        body = client.post("/v1/search", params={"k": 20, "filter": text}, json={"image_id": "digit/7"}).json()
        expected = [image_id for image_id in everything if holds(number[image_id])][:20]
        assert [match["id"] for match in body["matches"]] == expected, text
        assert not body["coverage"]["fewer_by_filter"] and body["coverage"]["matched"] is None


def test_recall_is_measured_and_told(client: httpx.Client) -> None:
    for number in range(5):
        client.post("/v1/search", json={"image_id": f"digit/{number}"})
    wait_until(lambda: "normal" in client.get("/v1/index").json()["recall"], "recall was measured")
    state = client.get("/v1/index").json()
    assert state["engine"] == "cassandra" and state["recall"]["normal"] == 1.0
    assert 'lookalike_recall{collection="default",effort="normal"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/search?as_of=0:1", "as-of-not-kept"),
        ("/v1/search?k=900&offset=200", "too-many-matches"),
        ("/v1/duplicates", "no-duplicates"),
        ("/v1/images?id=digit/5&as_of=0:1", "as-of-not-kept"),
    ],
)
def test_what_it_cannot_answer_gets_400_and_a_reason(client: httpx.Client, path: str, code: str) -> None:
    method = "POST" if path.startswith("/v1/search") else "GET"
    answer = client.request(method, path, json={"image_id": "digit/5"} if method == "POST" else None)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert "cassandra" in answer.json()["detail"]


def test_generation_that_is_over_is_gone(client: httpx.Client) -> None:
    now = client.get("/v1/index").json()["generation"]
    assert client.post(f"/v1/search?generation={now}", json={"image_id": "digit/5"}).status_code == 200
    gone = client.post(f"/v1/search?generation={now - 1}", json={"image_id": "digit/5"})
    assert (gone.status_code, gone.json()["code"]) == (410, "generation-gone")


def test_what_changes_shows_as_soon_as_it_is_covered(gallery: TableGallery, client: httpx.Client) -> None:
    def first(number: int) -> str:
        covered = gallery.writer.manifest.offsets["0"]
        url = f"/v1/search?k=1&wait_ms=5000&min_offsets=0:{covered}"
        found: str = client.post(url, content=digit(number), headers=PNG).json()["matches"][0]["id"]
        return found

    assert first(33) == "digit/33"
    gallery.delete("digit/33")
    assert first(33) != "digit/33"
    assert client.get("/v1/images?id=digit/33").json()["code"] == "unknown-image"
    gallery.put({"digit/33": digit(600)})
    assert first(600) == "digit/33"
    newest = client.get("/v1/index").json()["newest"][0]
    assert newest["id"] == "digit/33"
