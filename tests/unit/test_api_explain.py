"""Verdicts, the order of matches and how much larger they are, over HTTP; the store's records are made up from the images."""

import io
from collections.abc import Iterator, Sequence

import httpx
import numpy as np
import pytest
from PIL import Image

from api.answers.stored_records import StoredRecords
from contract.record_key import RecordKey
from gallery.store.rows import ImageRecord
from lookalike_client import ApiError, Client
from lookalike_client.table import neighbours_table
from model import mnist
from tests.api_gallery import LOG, Gallery, digit, record, running_api, settings_for

PNG = {"Content-Type": "image/png"}
LARGE = 84


def enlarged(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mnist.images("test")[number]).resize((LARGE, LARGE), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def shifted(number: int) -> bytes:
    return mnist.png(np.roll(mnist.images("test")[number], 2, 1))


IMAGES = {f"digit/{i}": digit(i) for i in range(40)} | {"large/3": enlarged(3), "again/3": enlarged(3)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An API whose store knows every image but digit/7."""
    settings = settings_for(tmp_path_factory.mktemp("api"))
    Gallery(settings).put(IMAGES)
    known = {RecordKey(LOG, 0, n): record(n, *image) for n, image in enumerate(IMAGES.items()) if n != 7}

    async def records(_: StoredRecords, keys: Sequence[RecordKey]) -> tuple[dict[RecordKey, ImageRecord], bool]:
        found = {key: known[key] for key in keys if key in known}
        return found, len(found) == len(set(keys))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredRecords, "records", records)
        with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
            yield client


def test_every_match_gets_its_verdict(client: httpx.Client) -> None:
    body = client.post("/v1/search?k=42&explain=true", content=shifted(3), headers=PNG).json()
    matches = {match["id"]: match for match in body["matches"]}
    copy = matches["digit/3"]
    assert (copy["verdict"], copy["larger"]) == ("altered copy", None)
    assert copy["edits"] == [{"name": "shift", "amount": 2, "unit": "px"}]
    assert np.array(copy["alignment"]) @ [10, 5, 1] == pytest.approx([8, 5, 1])
    assert copy["residual"] < 0.05
    assert copy["confidence"] > 0.9
    assert matches["digit/5"]["verdict"] == "similar"
    assert matches["digit/5"]["edits"] is matches["digit/5"]["alignment"] is None
    assert (matches["digit/7"]["verdict"], body["degraded"]) == (None, ["metadata", "verdict"])
    assert matches["large/3"]["larger"] == LARGE / 28


def test_the_same_image_is_said_to_be_that(client: httpx.Client) -> None:
    sent = client.post("/v1/search?k=3&explain=true", content=enlarged(3), headers=PNG).json()["matches"]
    by_id = client.post("/v1/search?k=3&explain=true", json={"image_id": "large/3"}).json()["matches"]
    for matches in (sent, by_id):
        assert [match["verdict"] for match in matches[:2]] == ["same bytes", "same bytes"]
        assert matches[0]["confidence"] == 1
    again = io.BytesIO()
    Image.open(io.BytesIO(digit(3))).save(again, "WEBP", lossless=True)
    other_file = client.post(
        "/v1/search?k=1&explain=true", content=again.getvalue(), headers={"Content-Type": "image/webp"}
    )
    assert other_file.json()["matches"][0]["verdict"] == "same pixels"


def test_an_image_of_another_size_is_a_scaled_copy(client: httpx.Client) -> None:
    body = client.post("/v1/search?k=42&explain=true", content=digit(3), headers=PNG).json()
    copy = next(match for match in body["matches"] if match["id"] == "large/3")
    assert copy["verdict"] == "altered copy"
    assert ("scale", pytest.approx(1 / 3, rel=0.01)) in [(edit["name"], edit["amount"]) for edit in copy["edits"]]


def test_the_order_changes_and_the_neighbours_do_not(client: httpx.Client) -> None:
    def ids(**query: str) -> list[str]:
        body = client.post("/v1/search", params={"k": "12", **query}, content=shifted(3), headers=PNG).json()
        return [match["id"] for match in body["matches"]]

    best = ids()
    assert ids(sort="best") == best
    offsets = {image_id: offset for offset, image_id in enumerate(IMAGES)}
    by_size = sorted(best, key=lambda image_id: image_id.partition("/")[0] not in ("large", "again"))
    assert ids(sort="biggest") == by_size
    for order in ("newest", "oldest"):
        assert sorted(ids(sort=order)) == sorted(best)
        assert len(offsets) == len(IMAGES)
    changed = ids(sort="most_changed", explain="true")
    assert sorted(changed) == sorted(best)


def test_without_asking_there_is_no_verdict(client: httpx.Client) -> None:
    body = client.post("/v1/search?k=3", content=shifted(3), headers=PNG).json()
    for match in body["matches"]:
        assert all(match[name] is None for name in ("verdict", "edits", "alignment", "residual", "confidence"))
    assert "verdict" not in body["degraded"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("?sort=most_changed", {"image_id": "digit/1"}, "sort-needs-explain"),
        ("?sort=worst", {"image_id": "digit/1"}, "bad-sort"),
        ("?explain=perhaps", {"image_id": "digit/1"}, "bad-explain"),
        ("?explain=true", {"embedding": [0.0] * 128}, "explain-needs-image"),
        ("/batch?explain=true", {"queries": [{"image_id": "digit/1"}]}, "explain-in-batch"),
        ("/batch?sort=newest", {"queries": [{"image_id": "digit/1"}]}, "sort-in-batch"),
    ],
)
def test_what_cannot_be_explained_or_sorted_is_refused(
    client: httpx.Client, path: str, body: object, code: str
) -> None:
    response = client.post(f"/v1/search{path}", json=body)
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_the_client_and_its_table_show_verdicts(client: httpx.Client) -> None:
    ours = Client(str(client.base_url))
    answer = ours.search(shifted(3), k=42, explain=True)
    copy = next(match for match in answer.matches if match.id == "digit/3")
    assert copy.edits is not None
    assert [(edit.name, edit.amount) for edit in copy.edits] == [("shift", 2)]
    table = neighbours_table(answer)
    assert "altered copy (" in table
    assert ": shift 2 px" in table
    assert "larger ×3" in table
    assert all(len(line) <= 80 for line in table.splitlines())
    with pytest.raises(ApiError, match="sort-needs-explain"):
        ours.search(digit(3), sort="most_changed")
