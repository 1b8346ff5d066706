"""A folder as a source: what is met, what it is called, and what is no picture. Without Kafka."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.messages import check_image_id
from producers.folder import Folder, Manner
from producers.ids import file_id
from producers.left_out import count_kinds, in_words, kind_of
from producers.outgoing import LeftOut, Outgoing
from producers.state import FolderState
from producers.walk import list_folder
from tests.picture_folder import PNG, make_pictures, published
from tests.unit.test_producers import make_odd_folder


def keys(folder: Path, *, follow_links: bool = False) -> list[str]:
    return [file.key for file in list_folder(str(folder), follow_links=follow_links).files]


def kinds(folder: Path, *, follow_links: bool = False) -> dict[str, str]:
    """Kind of everything that the walk alone leaves out, by name."""
    return {Path(each.name).name: each.kind for each in list_folder(str(folder), follow_links=follow_links).left_out}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path)


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
