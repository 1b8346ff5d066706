"""Verdicts on photographs over HTTP, with the encoder that knows them; the store's records are made up from the images."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image, ImageOps

from api.answers.stored_records import StoredRecords
from contract.record_key import RecordKey
from gallery.store.rows import ImageRecord
from lookalike_client import Client
from model.encoder import load_encoder
from tests.api_gallery import LOG, Gallery, record, running_api, settings_for
from tests.scenes import scene

PNG = {"Content-Type": "image/png"}
SIZE = (320, 240)
COUNT = 12


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


SCENES = [scene(seed, SIZE) for seed in range(COUNT)]
IMAGES = {f"scene/{seed}": png(image) for seed, image in enumerate(SCENES)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = settings_for(tmp_path_factory.mktemp("api"), encoder="photo")
    Gallery(settings).put(IMAGES)
    side_px = load_encoder("photo").thumbnail_side_px
    known = {
        RecordKey(LOG, 0, n): record(n, *image, thumbnail_side_px=side_px) for n, image in enumerate(IMAGES.items())
    }

    async def records(_: StoredRecords, keys: Sequence[RecordKey]) -> tuple[dict[RecordKey, ImageRecord], bool]:
        return {key: known[key] for key in keys}, True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StoredRecords, "records", records)
        with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as client:
            yield client


def matches(client: httpx.Client, image: Image.Image, query: str = "") -> dict[str, Any]:
    body = client.post(f"/v1/search?k={COUNT}&explain=true{query}", content=png(image), headers=PNG).json()
    assert body["degraded"] == []
    return {match["id"]: match for match in body["matches"]}


def test_a_cropped_photograph_is_a_copy_and_the_others_are_similar(client: httpx.Client) -> None:
    found = matches(client, SCENES[3].crop((40, 30, 280, 210)))
    copy = found.pop("scene/3")
    assert copy["verdict"] == "altered copy"
    assert [(edit["name"], edit["unit"]) for edit in copy["edits"]] == [("crop", "of width and height")]
    assert copy["edits"][0]["amount"] == pytest.approx(0.25, abs=0.02)
    assert np.array(copy["alignment"]) @ [119.5, 89.5, 1] == pytest.approx([159.5, 119.5, 1], abs=1)
    assert np.array(copy["outline"]["query"]).min(0) == pytest.approx([-0.5, -0.5])
    assert np.array(copy["outline"]["match"]).min(0) == pytest.approx([39.5, 29.5], abs=1.5)
    assert {match["verdict"] for match in found.values()} == {"similar"}
    assert all(match["outline"] is match["alignment"] is None for match in found.values())


def test_a_verdict_looks_where_the_hypothesis_found_the_match(client: httpx.Client) -> None:
    page = SCENES[0].resize((960, 720))
    page.paste(SCENES[5].resize((288, 216)), (0, 504))
    copy = matches(client, page, "&effort=thorough")["scene/5"]
    assert copy["hypothesis"] == "part-40-0-100"
    assert copy["verdict"] == "altered copy"
    assert {edit["name"] for edit in copy["edits"]} & {"pasted", "collage"}


def test_the_same_photograph_has_the_outline_of_the_whole(client: httpx.Client) -> None:
    copy = matches(client, SCENES[1])["scene/1"]
    assert copy["verdict"] == "same bytes"
    assert copy["outline"]["query"] == copy["outline"]["match"]
    assert copy["outline"]["query"][2] == [SIZE[0] - 0.5, SIZE[1] - 0.5]


def test_the_client_brings_the_outline(client: httpx.Client) -> None:
    answer = Client(str(client.base_url)).search(png(ImageOps.mirror(SCENES[2])), k=1, explain=True)
    (match,) = answer.matches
    assert match.edits is not None
    assert [edit.name for edit in match.edits] == ["mirrored"]
    assert match.outline is not None
    assert len(match.outline.query) == len(match.outline.match) == 4
