"""The details of an image: its history in order, and camera facts, whether the store is there or not."""

import asyncio
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from api.answers.cameras import CameraAnswer, Cameras, Place
from api.answers.history import HISTORY_RECORDS_MAX, history_of, in_effect_order
from api.answers.stored_records import StoredRecords
from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.store.distinct import DistinctSet
from gallery.store.rows import FeedRow, ImageRecord
from tests.api_gallery import LOG, Gallery, digit, record, running_api, settings_for

LOGS = ("images:older", "images:newer")


def row(log: str, partition: int, offset: int, outcome: str, time_ms: int) -> FeedRow:
    reason = "corrupt expired-before" if outcome == "reject" else ""
    return FeedRow(RecordKey(log, partition, offset), offset, outcome, reason, "a", None, time_ms)  # type: ignore[arg-type]


@given(st.lists(st.lists(st.sampled_from(["put", "delete", "reject"]), max_size=8), min_size=2, max_size=2))
def test_a_history_says_what_each_record_did(outcomes: list[list[str]]) -> None:
    """Against a plain walk over the records of one partition, log after log."""
    logs = [
        [row(log, 0, offset, outcome, 100 - offset) for offset, outcome in enumerate(each)]
        for log, each in zip(LOGS, outcomes, strict=True)
    ]
    told = [(each.kind, each.reason) for each in history_of("default", "a", in_effect_order(logs), {})]
    expected, image = [], False
    for outcome in (outcome for each in outcomes for outcome in each):
        if outcome == "put":
            expected.append(("replaced" if image else "put", ""))
            image = True
        elif outcome == "delete":
            expected.append(("deleted", ""))
            image = False
        else:
            expected.append(("rejected", "corrupt"))
    assert told == expected


def test_records_of_several_partitions_go_by_kafkas_time_which_never_goes_back() -> None:
    rows = [row(LOGS[0], 0, 3, "put", 50), row(LOGS[0], 0, 9, "put", 10), row(LOGS[0], 2, 1, "delete", 40)]
    assert [(each.key.partition, each.key.offset) for each in in_effect_order([rows])] == [(2, 1), (0, 3), (0, 9)]


def test_a_long_history_keeps_its_newest_records() -> None:
    rows = [row(LOGS[0], 0, offset, "put", offset) for offset in range(HISTORY_RECORDS_MAX + 5)]
    told = history_of("default", "a", rows, {})
    assert (len(told), told[0].kind, told[-1].source.offset) == (HISTORY_RECORDS_MAX, "replaced", len(rows) - 1)


def with_camera(value: bytes) -> bytes:
    made = Image.Exif()
    made[0x010F], made[0x013B] = "Canon", "Ann Artist"
    place = made.get_ifd(0x8825)
    place[1], place[2], place[3], place[4] = "N", (1.0, 30.0, 0.0), "W", (2.0, 0.0, 0.0)
    buffer = io.BytesIO()
    Image.open(io.BytesIO(value)).save(buffer, "PNG", exif=made)
    return buffer.getvalue()


VALUES = {"with": with_camera(digit(1)), "without": digit(2), "lost": digit(3)}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An API over a store that knows all of two images and nothing of the third."""
    settings = settings_for(tmp_path_factory.mktemp("details"))
    Gallery(settings).put(VALUES)
    known = {RecordKey(LOG, 0, n): record(n, *each) for n, each in enumerate(VALUES.items()) if each[0] != "lost"}

    async def records(_: StoredRecords, keys: Sequence[RecordKey]) -> tuple[dict[RecordKey, ImageRecord], bool]:
        found = {key: known[key] for key in keys if key in known}
        return found, len(found) == len(set(keys))

    async def original(_: StoredRecords, key: RecordKey) -> bytes:
        return list(VALUES.values())[key.offset]

    async def image_rows(_: StoredRecords, image_id: str, topic: str, __: str) -> tuple[list[list[FeedRow]], bool]:
        if image_id == "lost":
            raise DependencyError("cassandra", "away.")
        assert topic == settings.kafka_topic
        return [[row(LOG, 0, list(VALUES).index(image_id), "put", 1000)]], True

    async def distinct_sets(_: StoredRecords, topic: str) -> list[DistinctSet]:
        assert topic == settings.kafka_topic
        return []

    with pytest.MonkeyPatch.context() as patch:
        for read in (records, original, image_rows, distinct_sets):
            patch.setattr(StoredRecords, read.__name__, read)
        with running_api(settings) as address, httpx.Client(base_url=address, timeout=60) as made:
            yield made


def test_details_tell_camera_facts_and_history(client: httpx.Client) -> None:
    for _ in range(2):  # the second time from what is kept
        body = client.get("/v1/images?id=with").json()
        camera = body["camera"]
        assert (camera["make"], camera["iso"], camera["place"]) == ("Canon", None, None)
        assert "Ann" not in str(body)
        assert body["degraded"] == [] and body["history_complete"] is True
        assert body["duplicates"] == [], "no run has ended yet"
        (only,) = body["history"]
        assert (only["kind"], only["width"], only["source"]["offset"]) == ("put", 28, 0)
        assert only["thumbnail_url"] == body["thumbnail_url"]
    assert client.get("/v1/images?id=without").json()["camera"] is None


def test_what_cannot_be_looked_up_is_named(client: httpx.Client) -> None:
    body = client.get("/v1/images?id=lost").json()
    assert (body["camera"], body["history"], body["history_complete"]) == (None, None, False)
    assert body["degraded"] == ["metadata", "history", "camera"]


def test_the_place_is_told_where_the_setting_says_so(tmp_path: Path) -> None:
    async def read() -> CameraAnswer | None:
        async def original() -> bytes:
            return VALUES["with"]

        cameras = Cameras(settings_for(tmp_path, show_place=True))
        try:
            return await cameras.facts(RecordKey(LOG, 0, 0), original)
        finally:
            await cameras.stop()

    found = asyncio.run(read())
    assert found is not None and found.place == Place(latitude=1.5, longitude=-2.0)
