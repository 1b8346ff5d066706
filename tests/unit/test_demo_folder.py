"""What the demo says of a folder before it starts anything, and how it alters pictures."""

import hashlib
import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from contract.collections import check_collection_name
from contract.errors import ConfigurationError
from contract.settings import load_settings
from stack.__main__ import main
from stack.alterations import altered
from stack.demo import demo
from stack.demo_folder import collection_of, demo_folder, tell_earlier
from tests.people import photographs


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing", r"there is no such folder"),
        ("a file.txt", r"is a file\. Name the folder"),
        ("empty", r"holds no pictures\. It is empty"),
        ("notes", r"holds no pictures\. Left out: 2 \.txt, 1 empty file, 1 link to a folder"),
    ],
)
def test_folder_without_pictures_is_refused_at_once(tmp_path: Path, name: str, complaint: str) -> None:
    for folder in ("empty", "notes/deep"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("a file.txt", "notes/a.txt", "notes/deep/b.txt"):
        (tmp_path / file).write_text("a note")
    (tmp_path / "notes" / "empty.jpg").touch()
    (tmp_path / "notes" / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match=complaint) as refused:
        demo_folder(load_settings(var_dir=tmp_path / "var"), str(tmp_path / name), images=10, ends=True)
    assert f"FOLDER={str(tmp_path / name)!r}" in str(refused.value)
    assert not (tmp_path / "var").exists()


def test_refusal_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["demo", "--folder", "~/No Pictures", "--exit"]) == 1
    assert capsys.readouterr().err.startswith(f"error: FOLDER={str(tmp_path / 'No Pictures')!r}: there is no such")


def remember(state: Path, folder: str) -> None:
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(json.dumps({"folder": folder, "log": "log", "published": {}}))


def test_each_folder_has_a_collection_of_its_own_and_the_first_has_the_plain_name(tmp_path: Path) -> None:
    settings = load_settings(var_dir=tmp_path)
    first, other = str(tmp_path / "a"), str(tmp_path / "b")
    name, state = collection_of(settings, first)
    assert name == "photos"
    remember(state, first)
    assert collection_of(settings, first) == (name, state)
    assert collection_of(settings, f"{first}/../a/") == (name, state)
    name_of_other, state_of_other = collection_of(settings, other)
    assert check_collection_name(name_of_other).startswith("photos-")
    assert state_of_other != state
    remember(state_of_other, other)
    assert collection_of(settings, other) == (name_of_other, state_of_other)
    state.write_text("damaged")
    assert collection_of(settings, other) == (name_of_other, state_of_other), "nobody can tell whose the first one is"


def test_what_an_earlier_version_kept_of_a_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(var_dir=tmp_path)
    tell_earlier(settings, "/pictures")
    assert capsys.readouterr().out == ""
    digest = hashlib.sha256(b"images\0/pictures").hexdigest()[:12]
    (tmp_path / "demo" / digest).mkdir(parents=True)
    tell_earlier(settings, "/pictures")
    told = capsys.readouterr().out
    assert f"the topic images-{digest} and the keyspace lookalike_{digest}" in told
    tell_earlier(settings, "/others")
    assert capsys.readouterr().out == ""


def test_wrong_number_of_digits_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="IMAGES=60001: choose 1 to 60000"):
        demo(load_settings(var_dir=tmp_path / "var"), 60_001, ends=True)
    assert not (tmp_path / "var").exists()


def test_every_picture_can_be_altered_in_five_ways() -> None:
    for size, mode in (((1, 1), "RGB"), ((3000, 2), "L"), ((40, 60), "RGBA"), ((50, 50), "P")):
        buffer = BytesIO()
        Image.new(mode, size).save(buffer, "PNG")
        for number in range(5):
            words, value = altered(buffer.getvalue(), number)
            assert words
            assert Image.open(BytesIO(value)).format == "JPEG"
    buffer = BytesIO()
    next(photographs()).save(buffer, "PNG")
    assert len({altered(buffer.getvalue(), number)[1] for number in range(5)}) == 5
