"""What the demo says of a folder before it starts anything, and how it alters pictures."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from contract.errors import ConfigurationError
from contract.settings import load_settings
from stack.__main__ import main
from stack.alterations import altered
from stack.demo_folder import _own_settings, demo_folder
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
        demo_folder(load_settings(var_dir=tmp_path / "var"), str(tmp_path / name), ends=True)
    assert f"FOLDER={str(tmp_path / name)!r}" in str(refused.value)
    assert not (tmp_path / "var").exists()


def test_refusal_is_one_line_and_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["demo", "--folder", "~/No Pictures", "--exit"]) == 1
    assert capsys.readouterr().err.startswith(f"error: FOLDER={str(tmp_path / 'No Pictures')!r}: there is no such")


def test_each_folder_has_a_pipeline_of_its_own_and_the_digits_keep_theirs(tmp_path: Path) -> None:
    settings = load_settings(var_dir=tmp_path)
    pipelines = [settings, *(_own_settings(settings, str(tmp_path / name)) for name in ("a", "b"))]
    for name in ("kafka_topic", "cassandra_keyspace", "index_dir", "var_dir"):
        assert len({getattr(each, name) for each in pipelines}) == 3
    assert len({each.compiled_dir for each in pipelines}) == 1
    assert load_settings(**pipelines[1].model_dump()) == pipelines[1], "its names are acceptable"
    assert _own_settings(settings, str(tmp_path / "a")) == pipelines[1]


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
