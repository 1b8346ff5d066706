"""A folder over several looks: what has surely left it, what only seems to have, and what is new. Without Kafka."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contract.errors import ConfigurationError
from producers.folder import Folder, Look, Manner
from producers.ids import file_id
from producers.outgoing import Departed, Failure
from producers.state import FolderState
from producers.walk import FoundFile
from stack.jars import ROOT
from tests.picture_folder import JPEG_HEAD, PNG, confirm, make_pictures, published


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path)


@pytest.fixture
def state() -> FolderState:
    return FolderState(None, "", "images:x")


def departed(look: Look) -> set[str]:
    return {each.image_id for each in look.due if isinstance(each, Departed)}


class Clock:
    """A monotonic clock that stands where it is put."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_what_left_the_folder_is_deleted_and_nothing_else(pictures: Path, state: FolderState) -> None:
    odd = pictures / os.fsdecode(b"latin-\xe9.png")
    odd.write_bytes(PNG)
    published(pictures, state, deletes=True)
    shutil.rmtree(pictures / "deep")
    odd.unlink()
    (pictures / "new.png").write_bytes(PNG)
    look = published(pictures, state, deletes=True, skips=True)
    assert departed(look) == {"deep/b.png", "deep/er/c.png", file_id(odd.name)}
    assert state.ids() == {"a.png", "new.png"}
    assert departed(published(pictures, state, deletes=True)) == set(), "once is enough"


def test_without_delete_nothing_is_deleted(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    (pictures / "a.png").unlink()
    assert departed(published(pictures, state)) == set()
    assert departed(published(pictures, state, deletes=True)) == {"a.png"}, "it was remembered meanwhile"


def test_picture_that_became_something_else_has_left(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    (pictures / "a.png").write_text("a story")
    (pictures / "deep" / "b.png").write_bytes(b"")  # perhaps about to be written
    assert departed(published(pictures, state, deletes=True)) == {"a.png"}


def test_ids_that_another_folder_was_published_under_stay(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    (pictures / "a.png").unlink()
    (pictures / "deep" / "b.png").unlink()
    look = published(pictures, state, deletes=True, claimed=lambda ids: dict.fromkeys(set(ids) & {"a.png"}, "/other"))
    assert departed(look) == {"deep/b.png"}
    assert look.notes == ["Not deleted: 1 image, since the folder '/other' was published under the same id."]


def test_nothing_is_deleted_when_the_folder_itself_is_gone(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    pictures.rename(pictures.with_name("elsewhere"))
    with pytest.raises(ConfigurationError, match="nothing deleted"):
        published(pictures, state, deletes=True)
    assert len(state.ids()) == 3


@pytest.mark.parametrize(("place", "lost"), [("", 3), ("deep", 2)])
def test_empty_folder_in_anothers_place_deletes_nothing(
    pictures: Path, state: FolderState, place: str, lost: int
) -> None:
    """As when a disk is not mounted: its mount point is an empty folder. Twice, since the first look must not forget it."""
    published(pictures, state)
    mounted = pictures / place
    mounted.rename(pictures.with_name("elsewhere"))
    mounted.mkdir()
    for _ in range(2):
        look = published(pictures, state, deletes=True, skips=True)
        assert departed(look) == set()
        assert f"Not deleted: {lost} images, since" in look.notes[0]
    mounted.rmdir()
    pictures.with_name("elsewhere").rename(mounted)
    assert published(pictures, state, deletes=True, skips=True).unchanged == 3


def test_folder_that_somebody_emptied_is_emptied_in_the_gallery(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    (pictures / "a.png").unlink()
    shutil.rmtree(pictures / "deep")
    assert len(departed(published(pictures, state, deletes=True))) == 3


def test_what_lies_behind_a_link_that_is_not_followed_any_more_stays(
    tmp_path: Path, pictures: Path, state: FolderState
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(PNG)
    (pictures / "link").symlink_to(outside)
    published(pictures, state, follow_links=True)
    assert departed(published(pictures, state, deletes=True)) == set()
    (outside / "x.png").unlink()
    assert departed(published(pictures, state, deletes=True, follow_links=True)) == {"link/x.png"}
    (pictures / "link").unlink()


def test_what_a_broken_link_led_to_stays(tmp_path: Path, pictures: Path, state: FolderState) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.png").write_bytes(PNG)
    (pictures / "link").symlink_to(outside)
    (pictures / "x.png").symlink_to(outside / "x.png")
    published(pictures, state, follow_links=True)
    outside.rename(tmp_path / "unplugged")
    assert departed(published(pictures, state, deletes=True, follow_links=True)) == set()


@contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of a user who may not read everything, as which the test runs meanwhile where it runs as root."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        is_root = os.geteuid() == 0
        if is_root:
            for path in (Path(name), folder):
                os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if is_root:
                os.seteuid(0)


def test_what_cannot_be_read_is_a_failure_that_stops_nothing_and_deletes_nothing(state: FolderState) -> None:
    with as_nobody() as folder:
        for key in ("a.png", "b.png", "deep/c.png"):
            (folder / key).parent.mkdir(exist_ok=True)
            (folder / key).write_bytes(PNG)
        published(folder, state)
        (folder / "deep").chmod(0)
        (folder / "b.png").chmod(0)
        look = published(folder, state, deletes=True)
        (folder / "deep").chmod(0o755)
    failed = {Path(each.name).name: each.reason for each in look.due if isinstance(each, Failure)}
    assert failed == {"b.png": "unreadable", "deep": "unreadable"}
    assert departed(look) == set()
    assert "'deep' was not read" in look.notes[0]


def test_folder_that_cannot_be_read_at_all_deletes_nothing(state: FolderState) -> None:
    with as_nobody() as folder:
        (folder / "a.png").write_bytes(PNG)
        published(folder, state)
        folder.chmod(0)
        with pytest.raises(ConfigurationError, match=r"cannot be read.*nothing deleted"):
            published(folder, state, deletes=True)
        folder.chmod(0o755)


def test_later_looks_find_only_what_is_new(pictures: Path, state: FolderState) -> None:
    source = Folder(str(pictures), state, Manner(deletes=True))
    (pictures / "notes.txt").write_text("notes")
    (pictures / "gone.png").symlink_to("nothing")
    assert len(confirm(source, source.look())) == 3
    look = source.look()
    assert (look.due, look.left_out) == ([], [])
    (pictures / "notes.txt").write_text("more notes")
    (pictures / "a.png").write_bytes(PNG + b"!")
    (pictures / "deep" / "b.png").unlink()
    look = source.look()
    assert confirm(source, look) == ["a.png", "-deep/b.png"]
    assert [each.kind for each in look.left_out] == [".txt"]
    source.begin_anew()
    assert len([each for each in source.look().due if isinstance(each, FoundFile)]) == 2


def test_file_that_left_and_comes_back_as_it_was_is_published_again(pictures: Path, state: FolderState) -> None:
    source = Folder(str(pictures), state, Manner(deletes=True))
    confirm(source, source.look())
    kept = pictures.with_name("kept.png")
    os.link(pictures / "a.png", kept)
    (pictures / "a.png").unlink()
    assert confirm(source, source.look()) == ["-a.png"]
    os.link(kept, pictures / "a.png")
    assert confirm(source, source.look()) == ["a.png"]


def test_file_that_is_being_written_is_taken_once_it_stands_still_and_is_whole(
    pictures: Path, state: FolderState
) -> None:
    clock = Clock()
    source = Folder(str(pictures), state, Manner(still_s=1.0), clock)
    assert source.look().is_waiting, "all of it is new"
    path = pictures / "slow.jpg"
    path.write_bytes(JPEG_HEAD)
    clock.now_s = 0.9
    assert confirm(source, source.look()) == [], "a second has not passed"
    clock.now_s = 1.0
    assert sorted(confirm(source, source.look())) == ["a.png", "deep/b.png", "deep/er/c.png"]
    clock.now_s = 20.0
    look = source.look()
    assert (confirm(source, look), look.is_waiting) == ([], True), "it lacks its end"
    with path.open("ab") as file:
        file.write(bytes(100) + b"\xff\xd9")
    assert confirm(source, source.look()) == [], "it has just changed"
    clock.now_s = 21.0
    assert confirm(source, source.look()) == ["slow.jpg"]
    assert not source.look().is_waiting


def test_file_that_lacks_its_end_is_taken_after_a_while(pictures: Path, state: FolderState) -> None:
    clock = Clock()
    source = Folder(str(pictures), state, Manner(still_s=1.0), clock)
    (pictures / "slow.jpg").write_bytes(JPEG_HEAD)
    source.look()
    clock.now_s = 29.0
    assert "slow.jpg" not in confirm(source, source.look())
    clock.now_s = 30.0
    assert confirm(source, source.look()) == ["slow.jpg"]


def test_file_has_left_once_it_has_been_away_for_a_while(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    clock = Clock()
    source = Folder(str(pictures), state, Manner(still_s=1.0, deletes=True, skips=True), clock)
    (pictures / "a.png").rename(pictures.with_name("a.png"))
    look = source.look()
    assert (departed(look), look.is_waiting) == (set(), True)
    pictures.with_name("a.png").rename(pictures / "a.png")
    clock.now_s = 0.5
    source.look()
    (pictures / "a.png").unlink()
    clock.now_s = 1.0
    assert departed(source.look()) == set(), "the time counts from when it left last"
    clock.now_s = 1.9
    assert departed(source.look()) == set()
    clock.now_s = 2.0
    assert departed(source.look()) == {"a.png"}


def test_a_folder_that_cannot_be_watched_is_looked_at_all_the_same(tmp_path: Path) -> None:
    """Here since no file can be opened any more, and inotify's is one."""
    code = f"""
import os, resource, time
from producers.watch import Changes
from watchfiles import watch
folder = {str(tmp_path)!r}
changes = Changes()
resource.setrlimit(resource.RLIMIT_NOFILE, (os.open(folder, os.O_RDONLY) + 1,) * 2)
changes.follow({{folder: None}})
began = time.monotonic()
changes.wait(0, 0.2)
print(time.monotonic() - began)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Changes are noticed within 10 s only" in done.stderr and 0.2 <= float(done.stdout) < 5, done
