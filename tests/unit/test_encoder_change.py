"""Another encoder's index comes to answer: only when it covers as much and holds the same, and no answer mixes the two."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import psutil
import pytest

from api.answers.shared_queries import QueryEncoders
from api.live.follower import Follower
from contract.errors import LookalikeError
from contract.record_key import RecordKey
from gallery.generations.serving import SERVING, Serving, ServingFile, manifests, old_layout, write_serving
from gallery.promote import promote, rollback
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from tests.api_gallery import Gallery, digit, running_api, settings_for, wait_until
from tests.decoders import decoders_of

OLD, NEW = "report-autoencoder", "contrast"
PNG = {"Content-Type": "image/png"}


class FeedInMemory:
    """The feed of one encoder, as far as a comparison reads it."""

    def __init__(self, gallery: Gallery) -> None:
        self._rows = gallery.rows
        self._fingerprint = gallery.encoder.fingerprint

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int) -> Iterator[FeedRow]:
        for row in self._rows:
            if row.key.log == start.log and start.offset <= row.key.offset < end_offset:
                assert (fingerprint, start.partition) == (self._fingerprint, 0)
                yield row


class Two:
    """Two encoders' indexes in one folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = settings_for(folder, encoder=OLD)
        self.folder = self.settings.index_dir
        self.old, self.new = (Gallery(settings_for(folder, encoder=name)) for name in (OLD, NEW))

    @property
    def feed(self) -> Feed:
        return cast(Feed, FeedInMemory(self.new))

    @property
    def serving(self) -> Serving:
        return ServingFile(self.folder, OLD).current()

    def put(self, *numbers: int) -> None:
        for gallery in (self.old, self.new):
            gallery.put({str(n): digit(n) for n in numbers})


@pytest.fixture
def two(tmp_path: Path) -> Two:
    two = Two(tmp_path)
    two.put(*range(10))
    return two


def test_index_that_is_ahead_is_compared_at_equal_coverage_and_promoted_and_rolled_back(two: Two) -> None:
    two.old.delete("3")
    two.old.rebuild()
    two.new.delete("3")
    two.new.put({"1": digit(21), "new": digit(22), "3": digit(3), "gone": digit(4)})
    two.new.delete("gone")
    two.new.delete("5")
    two.new.reject("corrupt")
    compared = promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.0)
    assert compared is not None
    assert (compared.differences, compared.images, compared.records_between) == ([], 10, 7)
    assert two.serving == Serving(NEW, before=OLD)
    assert promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.0) is None
    two.old.put({"1": digit(21), "new": digit(22), "3": digit(3), "gone": digit(4)})
    two.old.delete("gone")
    two.old.delete("5")
    two.old.reject("corrupt")
    assert rollback(two.folder, two.feed, default=OLD, wait_s=0.0)[0] == OLD
    assert two.serving == Serving(OLD, before=NEW)


def test_index_that_covers_less_is_not_promoted(two: Two) -> None:
    two.old.put({"more": digit(30), "and more": digit(31)})
    with pytest.raises(LookalikeError, match=r"contrast lacks 2 records.*Nothing was changed"):
        promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.05)
    assert two.serving == Serving(OLD)


def test_index_that_holds_other_images_is_not_promoted_and_each_difference_is_named(two: Two) -> None:
    two.old.put({"a": digit(30), "b": digit(31)})
    two.new.put({"a": digit(30), "c": digit(31)})
    two.put(32)
    compared = promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.0)
    assert compared is not None
    assert compared.differences == ["'b' is missing from the new index.", "'c' is only in the new index."]
    assert two.serving == Serving(OLD)


def test_a_record_that_is_set_aside_in_the_new_index_is_published_again_and_then_it_is_promoted(two: Two) -> None:
    two.old.put({"a": digit(30)})
    two.new._add("put", "a", b"no embedding")
    two.new._publish()
    two.put(32)
    compared = promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.0)
    assert compared is not None
    assert compared.differences == [
        "'a' is missing from the new index. Its newest record is set aside there (embedding-length): publish it again."
    ]
    assert two.serving == Serving(OLD)
    for gallery in (two.old, two.new):
        gallery.put({"a": digit(30)})
    compared = promote(two.folder, two.feed, to=NEW, default=OLD, wait_s=0.0)
    assert compared is not None and compared.differences == []
    assert two.serving == Serving(NEW, before=OLD)


def test_encoder_without_an_index_and_rollback_without_a_before_say_what_to_do(two: Two) -> None:
    with pytest.raises(LookalikeError, match=r"only: contrast, report-autoencoder\. Start its embedder and indexer"):
        promote(two.folder, two.feed, to="../elsewhere", default=OLD, wait_s=0.0)
    with pytest.raises(LookalikeError, match="promote ENCODER"):
        rollback(two.folder, two.feed, default=OLD, wait_s=0.0)


def test_api_changes_over_only_to_an_index_that_covers_what_it_answered_from(two: Two) -> None:
    two.old.put({"more": digit(30)})
    with running_api(two.settings) as address, httpx.Client(base_url=address, timeout=30) as client:

        def answer() -> tuple[str, int]:
            body = client.post("/v1/search?k=3", content=digit(7), headers=PNG).json()
            gallery = {g.encoder.fingerprint: g for g in (two.old, two.new)}[body["coverage"]["encoder"]]
            expected = gallery.nearest(gallery.embeddings["7"], 3)
            assert [match["id"] for match in body["matches"]] == [image_id for image_id, _ in expected]
            assert [match["distance"] for match in body["matches"]] == pytest.approx([d for _, d in expected])
            return body["coverage"]["encoder"], body["coverage"]["offsets"]["0"]

        old, new = (gallery.encoder.fingerprint for gallery in (two.old, two.new))
        assert answer() == (old, 11)
        embedding = {"embedding": two.old.embeddings["7"].tolist(), "encoder": old}
        assert client.post("/v1/search?k=1", json=embedding).json()["matches"][0]["distance"] == 0
        write_serving(two.folder, Serving(NEW, before=OLD))
        wait_until(lambda: "does not cover as much" in client.get("/v1/index").json()["refused"], "it says why not")
        assert answer() == (old, 11)
        shown = [(i["name"], i["is_serving"], i["count"]) for i in client.get("/v1/index").json()["indexes"]]
        assert shown == [(OLD, True, 11), (NEW, False, 10)]
        two.new.put({"more": digit(30)})
        wait_until(lambda: answer() == (new, 11), "the other encoder answers")
        shown = [(i["name"], i["is_serving"], i["count"]) for i in client.get("/v1/index").json()["indexes"]]
        assert shown == [(NEW, True, 11), (OLD, False, 11)]
        assert client.get("/v1/index").json()["encoder"] == {"name": NEW, "fingerprint": new, "knows_drawings": True}
        assert client.get("/v1/index").json()["refused"] == ""
        refused = client.post("/v1/search?k=1", json=embedding)
        assert (refused.status_code, refused.json()["code"]) == (409, "other-encoder")
        wait_until(lambda: decoders() == [NEW], "the old encoder's child has ended")
        write_serving(two.folder, Serving(OLD, before=NEW))
        wait_until(lambda: answer() == (old, 11), "the old encoder answers again")
        (two.folder / SERVING).write_text("{")
        wait_until(lambda: "promote again" in client.get("/v1/index").json()["refused"], "it says what is wrong")
        assert answer() == (old, 11)


def decoders() -> list[str]:
    """Encoders of this process's decoder children."""
    return list(decoders_of(psutil.Process()).values())


def test_index_that_is_always_a_moment_behind_comes_to_answer(two: Two) -> None:
    follower = Follower(two.settings, QueryEncoders())
    follower.look()
    write_serving(two.folder, Serving(NEW, before=OLD))
    deadline = time.monotonic() + 30
    covered = follower.snapshot
    for n in range(1000):
        image = {f"more/{n}": digit(n % 100)}
        two.old.put(image)  # one more than the other has when it is looked at
        follower.look()
        two.new.put(image)
        assert covered is not None and follower.snapshot is not None
        assert follower.snapshot.manifest.covers(covered.manifest)
        covered = follower.snapshot
        if follower.index.name == NEW:
            break
        assert time.monotonic() < deadline
    assert follower.index.name == NEW
    follower.index.queries.close()


def test_change_that_is_taken_back_before_it_came_leaves_no_child_behind(two: Two) -> None:
    two.old.put({"more": digit(30)})
    follower = Follower(two.settings, QueryEncoders())
    for _ in range(3):
        write_serving(two.folder, Serving(NEW, before=OLD))
        follower.look()
        write_serving(two.folder, Serving(OLD, before=NEW))
        follower.look()
    write_serving(two.folder, Serving(NEW, before=OLD))

    def has_a_child() -> bool:
        follower.look()
        return decoders() == [NEW]

    wait_until(has_a_child, "a child for the one that is to answer")
    follower.give_up_change()
    wait_until(lambda: decoders() == [], "it has ended")
    assert follower.index.name == OLD


def test_index_of_an_encoder_that_is_not_there_is_refused_with_the_reason(two: Two) -> None:
    follower = Follower(two.settings, QueryEncoders())
    write_serving(two.folder, Serving("nobody", before=OLD))

    def says_why_not() -> bool:
        follower.look()
        return "no encoder 'nobody'" in follower.refused

    wait_until(says_why_not, "it says why not")
    assert follower.snapshot is not None
    assert follower.snapshot.count == 10


def test_index_of_an_earlier_version_is_named_and_harms_nothing(two: Two) -> None:
    assert old_layout(two.folder) == ""
    for path in (two.folder / OLD).iterdir():
        path.rename(two.folder / path.name)
    assert "earlier version" in old_layout(two.folder)
    assert manifests(two.folder).keys() == {NEW}
