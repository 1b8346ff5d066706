"""A folder as a source: what is met, what it is called, what is no picture, and what has surely left. Without Kafka."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ConfigurationError
from contract.messages import check_image_id
from model import mnist
from producers.folder import Folder, Look, Manner
from producers.ids import file_id
from producers.left_out import count_kinds, in_words, kind_of
from producers.outgoing import Departed, Failure, LeftOut, Outgoing
from producers.state import FolderState
from producers.walk import FoundFile, list_folder
from tests.unit.test_producers import make_odd_folder

PNG = mnist.png(np.zeros((28, 28), np.uint8))
JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(100)


def keys(folder: Path, *, follow_links: bool = False) -> list[str]:
    return [file.key for file in list_folder(str(folder), follow_links=follow_links).files]


def kinds(folder: Path, *, follow_links: bool = False) -> dict[str, str]:
    """Kind of everything that the walk alone leaves out, by name."""
    return {Path(each.name).name: each.kind for each in list_folder(str(folder), follow_links=follow_links).left_out}


def published(folder: Path, state: FolderState, **manner: object) -> Look:
    """Look once, and have all that is due confirmed."""
    source = Folder(str(folder), state, Manner(**manner))  # type: ignore[arg-type]
    look = source.look()
    confirm(source, look)
    return look


def confirm(source: Folder, look: Look) -> list[str]:
    """Have all that is due confirmed; ids of pictures, and of deletions with a minus before them."""
    done = []
    for each in source.images(look):
        if isinstance(each, Outgoing | Departed):
            source.confirm(each)
            done.append(each.image_id if isinstance(each, Outgoing) else f"-{each.image_id}")
    return done


def departed(look: Look) -> set[str]:
    return {each.image_id for each in look.due if isinstance(each, Departed)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with three pictures, nested."""
    folder = tmp_path / "my pictures"
    for key in ("a.png", "deep/b.png", "deep/er/c.png"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(PNG)
    return folder


@pytest.fixture
def state() -> FolderState:
    return FolderState(None, "", "images:x")


def test_every_file_is_met_once_and_nothing_odd_ends_the_walk(tmp_path: Path) -> None:
    make_odd_folder(tmp_path)
    met = keys(tmp_path)
    assert sorted(met) == sorted(
        [
            "plain.png",
            "with space.png",
            "émoji 🐈.png",
            "deep/er/deepest/a.png",
            "-dash.png",
            "a'b\"c.png",
            "new\nline.png",
            os.fsdecode(b"latin-\xe9.png"),
        ]
    )
    assert kinds(tmp_path) == {
        "back up": "folder-link",
        "gone.png": "broken-link",
        "itself.png": "broken-link",
        "pipe.png": "not-a-file",
    }


def test_links_to_folders_and_to_files_outside_are_left_out_unless_asked_for(tmp_path: Path, pictures: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "below").mkdir(parents=True)
    (outside / "below" / "secret.png").write_bytes(PNG)
    (pictures / "link").symlink_to(outside, target_is_directory=True)
    (pictures / "file.png").symlink_to(outside / "below" / "secret.png")
    (pictures / "inside.png").symlink_to(Path("deep") / "b.png")
    own = ["a.png", "inside.png", "deep/b.png", "deep/er/c.png"]
    assert keys(pictures) == own
    assert kinds(pictures) == {"link": "folder-link", "file.png": "link-outside"}
    assert sorted(keys(pictures, follow_links=True)) == sorted([*own, "file.png", "link/below/secret.png"])


def test_folder_that_is_named_by_a_link_is_read(tmp_path: Path, pictures: Path) -> None:
    (pictures / "inside.png").symlink_to(pictures / "a.png")
    (tmp_path / "link").symlink_to(pictures)
    assert keys(tmp_path / "link") == ["a.png", "inside.png", "deep/b.png", "deep/er/c.png"]


def test_loops_of_links_end_and_no_folder_is_read_twice(tmp_path: Path) -> None:
    """Eight folders, each with links to all others and to the one above: more ways through them than could ever be walked."""
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / f"{number}.png").write_bytes(PNG)
        for other in range(8):
            (tmp_path / str(number) / f"to {other}").symlink_to(tmp_path / str(other))
        (tmp_path / str(number) / "up").symlink_to(tmp_path)
    assert keys(tmp_path, follow_links=True) == [f"{number}/{number}.png" for number in range(8)]
    assert set(kinds(tmp_path, follow_links=True).values()) == {"folder-again"}


def test_folder_is_read_under_its_own_name_rather_than_a_links(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "a.png").write_bytes(PNG)
    (tmp_path / "a link").symlink_to(tmp_path / "z")
    assert keys(tmp_path, follow_links=True) == ["z/a.png"]


def test_folder_nested_deeper_than_python_recurses_is_walked(tmp_path: Path) -> None:
    depth = 1500
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    # A path may have 4,096 bytes: what lies deeper than that has its folder told of.
    listing = list_folder(str(tmp_path))
    subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # Python's own way recurses
    assert len(listing.folders) + len(listing.failures) >= min(depth, 1_000)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("notes.TXT", ".txt"),
        (".DS_Store", ".DS_Store"),
        ("a/b.d/film.mov", ".mov"),
        ("IMG_1.jpg.xmp", ".xmp"),
        ("LICENSE", "no-suffix"),
        ("What happened. A long story", "no-suffix"),
        ("x.\x1b[31m", "no-suffix"),
        (os.fsdecode(b"x.\xe9"), "no-suffix"),
        ("x.", "no-suffix"),
    ],
)
def test_kind_is_the_suffix_or_a_hidden_files_name(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_kinds_are_counted_in_words_and_many_are_gathered() -> None:
    found = count_kinds(LeftOut("", kind, "") for kind in [".txt", ".txt", "empty", ".mov"])
    assert in_words(found) == "2 .txt, 1 .mov, 1 empty file"
    many = {f".{number}": 2 for number in range(20)} | {"empty": 3}
    assert in_words(many).endswith(", 16 of 8 other kinds, 3 empty files")
    assert in_words({}) == ""


FILE_NAMES = st.binary(min_size=1, max_size=255).filter(lambda name: b"/" not in name and b"\0" not in name)


@given(st.lists(FILE_NAMES, min_size=1, max_size=8), st.lists(FILE_NAMES, min_size=1, max_size=8))
def test_every_path_has_an_id_of_its_own_that_can_be_one(one: list[bytes], other: list[bytes]) -> None:
    paths = [os.fsdecode(b"/".join(names)) for names in (one, other)]
    ids = [file_id(path) for path in paths]
    assert [check_image_id(each) for each in ids] == ids
    assert (ids[0] == ids[1]) == (paths[0] == paths[1])
    assert [file_id(path) for path in paths] == ids
    assert file_id(ids[0]) != ids[0] or ids[0] == paths[0], "a file that bears a made id has another one"


def test_path_that_can_be_an_id_is_its_id_and_others_can_still_be_read() -> None:
    assert file_id("deep/ü 🐈.png") == "deep/ü 🐈.png"
    assert file_id("new\nline.png").startswith("new_line~")
    assert file_id("new\nline.png").endswith(".png")
    assert file_id(os.fsdecode(b"latin-\xe9.jpg")).startswith("latin-_~")
    assert file_id("ü" * 300 + ".png").startswith("ü" * 100)


def test_pictures_are_told_by_their_first_bytes_and_the_rest_is_counted(pictures: Path, state: FolderState) -> None:
    (pictures / "really.txt").write_bytes(PNG)
    (pictures / "no picture.jpg").write_text("no picture")
    (pictures / "notes.txt").write_text("some notes")
    (pictures / "IMG_1.xmp").write_text("<?xpacket begin?>")
    (pictures / "empty.png").touch()
    (pictures / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    look = published(pictures, state)
    assert state.ids() == {"a.png", "deep/b.png", "deep/er/c.png", "really.txt"}
    assert count_kinds(look.left_out) == {".DS_Store": 1, ".jpg": 1, ".txt": 1, ".xmp": 1, "empty": 1}


def test_file_that_vanishes_or_is_emptied_between_look_and_publishing_is_left_out(
    pictures: Path, state: FolderState
) -> None:
    source = Folder(str(pictures), state, Manner())
    look = source.look()
    (pictures / "a.png").unlink()
    (pictures / "deep" / "b.png").write_bytes(b"")
    left_out = [each for each in source.images(look) if not isinstance(each, Outgoing)]
    assert sorted(each.kind for each in left_out if isinstance(each, LeftOut)) == ["empty", "vanished"]


def test_metadata_of_an_odd_name_can_be_published(pictures: Path, state: FolderState) -> None:
    (pictures / os.fsdecode(b"latin-\xe9.png")).write_bytes(PNG)
    source = Folder(str(pictures), state, Manner())
    for image in source.images(source.look()):
        assert isinstance(image, Outgoing)
        str(image.metadata["name"]).encode()


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
    source = Folder(str(pictures), state, Manner(still_s=0.2))
    assert source.look().is_waiting, "all of it is new"
    taken: list[str] = []
    path = pictures / "slow.jpg"
    path.write_bytes(JPEG_HEAD)
    deadline_s = time.monotonic() + 10
    while len(taken) < 3:
        assert time.monotonic() < deadline_s
        taken += confirm(source, source.look())
    looks_until_s = time.monotonic() + 0.5
    while time.monotonic() < looks_until_s:
        assert confirm(source, source.look()) == [], "it lacks its end"
    with path.open("ab") as file:
        file.write(bytes(100) + b"\xff\xd9")
    while len(taken) < 4:
        assert time.monotonic() < deadline_s
        taken += confirm(source, source.look())
    assert taken[3] == "slow.jpg"
    assert not source.look().is_waiting


def test_file_has_left_once_it_has_been_away_for_a_while(pictures: Path, state: FolderState) -> None:
    published(pictures, state)
    source = Folder(str(pictures), state, Manner(still_s=0.2, deletes=True, skips=True))
    (pictures / "a.png").rename(pictures.with_name("a.png"))
    look = source.look()
    assert (departed(look), look.is_waiting) == (set(), True)
    pictures.with_name("a.png").rename(pictures / "a.png")
    source.look()
    (pictures / "a.png").unlink()
    assert departed(source.look()) == set(), "the time counts from when it left last"
    deadline_s = time.monotonic() + 10
    while not departed(look := source.look()):
        assert time.monotonic() < deadline_s
    assert departed(look) == {"a.png"}
