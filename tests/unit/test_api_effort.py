"""`effort=thorough`: hypotheses about the query, searched together and merged, over HTTP."""

import io
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image

from lookalike_client import Client
from lookalike_client.answers import WHOLE as CLIENTS_WHOLE
from lookalike_client.table import neighbours_table
from model import mnist
from model.encoder import load_encoder
from model.pictures.hypotheses import NAMES, WHOLE, hypotheses, margins
from model.pictures.images import decode
from tests.api_gallery import Gallery, digit, running_api, settings_for

PNG = {"Content-Type": "image/png"}
COUNT = 300
MOVES = {
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "turned-270": Image.Transpose.ROTATE_90,
    "turned-90": Image.Transpose.ROTATE_270,
}


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    gallery = Gallery(settings_for(tmp_path_factory.mktemp("api")))
    gallery.put({f"digit/{number}": digit(number) for number in range(COUNT)})
    return gallery


@pytest.fixture(scope="module")
def client(gallery: Gallery) -> Iterator[httpx.Client]:
    settings = settings_for(gallery.folder.parents[1])
    with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


def moved(number: int, move: Image.Transpose) -> bytes:
    return mnist.png(np.asarray(Image.fromarray(mnist.images("test")[number]).transpose(move)))


def on_a_page(number: int) -> bytes:
    """A digit written small in the corner of a page, beside a large stroke."""
    page = np.zeros((140, 140), np.uint8)
    page[:56, :56] = np.kron(mnist.images("test")[number], np.ones((2, 2), np.uint8))
    page[70:130, 100:112] = 255
    buffer = io.BytesIO()
    Image.fromarray(page).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("hypothesis", MOVES)
def test_a_moved_image_finds_its_original_first_and_says_how(client: httpx.Client, hypothesis: str) -> None:
    found = {"normal": 0, "thorough": 0}
    for number in range(0, COUNT, 20):
        for effort in found:
            content = moved(number, MOVES[hypothesis])
            matches = client.post(f"/v1/search?k=1&effort={effort}", content=content, headers=PNG).json()["matches"]
            found[effort] += matches[0]["id"] == f"digit/{number}"
            if effort == "thorough" and matches[0]["id"] == f"digit/{number}":
                assert (matches[0]["hypothesis"], matches[0]["distance"]) == (hypothesis, 0.0)
    assert found["thorough"] >= 13 > found["normal"]


def test_a_part_of_the_query_finds_what_it_shows(client: httpx.Client) -> None:
    matches = client.post("/v1/search?k=3&effort=thorough", content=on_a_page(7), headers=PNG).json()["matches"]
    assert (matches[0]["id"], matches[0]["hypothesis"]) == ("digit/7", "part-65-0-0")
    normal = client.post("/v1/search?k=3", content=on_a_page(7), headers=PNG).json()["matches"]
    assert "digit/7" not in [match["id"] for match in normal]


def test_matches_are_the_nearest_by_distance_and_margin_with_their_true_distance(
    client: httpx.Client, gallery: Gallery
) -> None:
    encoder = load_encoder("contrast")
    content = moved(5, MOVES["mirrored"])
    embeddings = {name: encoder.embed(encoder.pixels(each)) for name, each in hypotheses(decode(content).image)}
    added = margins(embeddings[WHOLE])
    every = [
        (distance + added[name], image_id.encode(), NAMES.index(name), distance)
        for name, embedding in embeddings.items()
        for image_id, distance in gallery.nearest(embedding, COUNT)
    ]
    expected: list[tuple[str, str, float]] = []
    for _, image_id, number, distance in sorted(every):
        if image_id.decode() not in [known for known, _, _ in expected]:
            expected.append((image_id.decode(), NAMES[number], distance))
    answer = client.post("/v1/search?k=20&effort=thorough", content=content, headers=PNG).json()
    told = answer["matches"]
    assert [(match["id"], match["hypothesis"]) for match in told] == [each[:2] for each in expected[:20]]
    assert [match["distance"] for match in told] == pytest.approx([distance for _, _, distance in expected[:20]])
    farthest = expected[9][2] + added[expected[9][1]]
    nearer = client.post(f"/v1/search?k=20&effort=thorough&max_distance={farthest}", content=content, headers=PNG)
    assert [match["id"] for match in nearer.json()["matches"]] == [image_id for image_id, _, _ in expected[:10]]


def test_normal_effort_is_the_default_and_tells_no_hypothesis(client: httpx.Client) -> None:
    told = [
        client.post(f"/v1/search?k=5{effort}", content=digit(3), headers=PNG).json()["matches"]
        for effort in ("", "&effort=normal")
    ]
    assert told[0] == told[1]
    assert {match["hypothesis"] for match in told[0]} == {None}


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("?effort=much", {"image_id": "digit/1"}, "bad-effort"),
        ("?effort=thorough", {"image_id": "digit/1"}, "effort-needs-image"),
        ("?effort=thorough", {"embedding": [0.0] * 128}, "effort-needs-image"),
        ("/batch?effort=thorough", {"queries": [{"image_id": "digit/1"}]}, "effort-in-batch"),
    ],
)
def test_what_has_no_pixels_or_comes_in_a_batch_is_refused(
    client: httpx.Client, path: str, body: object, code: str
) -> None:
    response = client.post(f"/v1/search{path}", json=body)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_an_image_that_cannot_be_read_is_refused_as_ever(client: httpx.Client) -> None:
    response = client.post("/v1/search?effort=thorough", content=digit(3)[:-30], headers=PNG)
    assert (response.status_code, response.json()["code"]) == (422, "truncated")


def test_the_client_and_its_table_tell_the_hypothesis(client: httpx.Client) -> None:
    assert CLIENTS_WHOLE == WHOLE
    answer = Client(str(client.base_url)).search(moved(20, MOVES["mirrored"]), k=3, effort="thorough")
    assert answer.matches[0].hypothesis == "mirrored"
    assert "mirrored" in neighbours_table(answer)
