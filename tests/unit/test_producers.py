"""Sources and reports without Kafka."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ConfigurationError
from contract.messages import IMAGE_SIZE_BYTES_MAX, log_of
from contract.settings import load_settings
from model import mnist
from producers.files import read_image
from producers.mnist import mnist_images
from producers.outgoing import Failure, LeftOut, Outgoing
from producers.report import Report
from producers.state import FolderState, claimed_by_others, usual_file
from producers.stdin import named_images
from producers.walk import FoundFile, Identity

PNG = mnist.png(np.zeros((28, 28), np.uint8))


def make_odd_folder(root: Path) -> None:
    """Files with names that people, cameras and other systems make, and things that are no files."""
    for name in ["plain.png", "with space.png", "émoji 🐈.png", "deep/er/deepest/a.png", "-dash.png", "a'b\"c.png"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(PNG)
    (root / os.fsdecode(b"latin-\xe9.png")).write_bytes(PNG)
    (root / "new\nline.png").write_bytes(PNG)
    (root / "deep" / "back up").symlink_to(root, target_is_directory=True)
    (root / "gone.png").symlink_to(root / "nothing.png")
    (root / "itself.png").symlink_to(root / "itself.png")
    os.mkfifo(root / "pipe.png")


def test_file_becomes_an_image_with_its_name_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(PNG)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    read = read_image(str(path), "the/key")
    assert isinstance(read, Outgoing)
    assert (read.image_id, read.value) == ("the/key", PNG)
    assert read.metadata == {"name": "a b.png", "size_bytes": len(PNG), "modified": "2023-11-14T22:13:20Z"}


def test_what_is_no_readable_file_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.write(PNG)
        file.truncate(IMAGE_SIZE_BYTES_MAX + 1)
    film = tmp_path / "film.png"
    with film.open("wb") as file:
        file.truncate(2 * IMAGE_SIZE_BYTES_MAX)
    (tmp_path / "empty.png").touch()
    os.mkfifo(tmp_path / "pipe")
    cases = {
        str(big): "too-large",
        str(film): "unsupported-type",
        str(tmp_path / "empty.png"): "empty",
        str(tmp_path / "gone.png"): "vanished",
        str(tmp_path / "pipe"): "not-a-file",
        str(tmp_path): "unreadable",
        "a\0b": "unreadable",
    }
    for path, reason in cases.items():
        failed = read_image(path, "key")
        assert isinstance(failed, Failure)
        assert failed.reason == reason


def test_lines_name_files_and_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a b.png").write_bytes(PNG)
    read = list(named_images([b"./a b.png\n", b"\n", b"missing.png\n", b"a b.png"]))
    assert [image.image_id if isinstance(image, Outgoing) else image.reason for image in read] == [
        "a b.png",
        "vanished",
        "a b.png",
    ]


def test_mnist_keys_and_metadata_count_alike_from_zero() -> None:
    images = list(mnist_images("test", 3))
    assert [image.image_id for image in images] == ["mnist/test/00000", "mnist/test/00001", "mnist/test/00002"]
    for index, image in enumerate(images):
        assert image.metadata == {"label": int(mnist.labels("test")[index]), "index": index, "split": "test"}


def test_state_remembers_what_was_confirmed_across_runs(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state.json"
    state = FolderState(file, "/photos", "images:a")
    odd = FoundFile("/photos/new\nline.png", "new\nline.png", (1, 2, 3))
    for found in (FoundFile("/photos/a.png", "a.png", (1, 2, 3)), odd):
        state.add(found.image_id, found.stamp, found.key)
    state.know_folders({"": Identity(1, 2)})
    state.save()
    again = FolderState(file, "/photos", "images:a")
    assert again.is_published(odd)
    assert not again.is_published(FoundFile("", "a.png", (1, 2, 4))), "a changed file is new"
    assert not again.is_published(FoundFile("", "b.png", (1, 2, 3)))
    assert again.ids() == {"a.png", odd.image_id}
    assert [again.key_of(each) for each in ("a.png", odd.image_id)] == ["a.png", "new\nline.png"]
    assert again.folder_before("") == Identity(1, 2)
    again.remove(odd.image_id)
    assert again.ids() == {"a.png"}


def test_state_of_a_topic_that_was_made_anew_is_forgotten(tmp_path: Path) -> None:
    state = FolderState(tmp_path / "state.json", "/photos", "images:a")
    state.add("a.png", (1, 2, 3), "a.png")
    state.save()
    again = FolderState(tmp_path / "state.json", "/photos", "images:b")
    assert again.ids() == set()
    assert "images:b" in again.forgot
    assert state.follow("images:b")
    assert state.ids() == set()
    assert not state.follow("images:b")


def test_state_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "s").write_text('{"folder": "/photos", "log": "x", "published": {"a.png": [1, 2, 3]}}')
    assert FolderState(tmp_path / "s", "/photos", "x").is_published(FoundFile("/photos/a.png", "a.png", (1, 2, 3)))


def test_ids_of_another_folder_are_known_by_its_state_file(tmp_path: Path) -> None:
    settings = load_settings(var_dir=tmp_path)
    for folder, log, image_id in (("/a", "x", "1.png"), ("/b", "x", "2.png"), ("/c", "y", "3.png")):
        state = FolderState(usual_file(settings, folder), folder, log)
        state.add(image_id, (1, 2, 3), image_id)
        state.save()
    assert claimed_by_others(settings, "/a", "x", ["1.png", "2.png", "3.png", "4.png"]) == {"2.png": "/b"}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"folder": "/photos", "log": "x"}', '{"folder": "/other", "log": "x", "published": {}}']
)
def test_foreign_state_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"state\.json"):
        FolderState(file, "/photos", "x")
    assert file.read_text() == text


def test_report_counts_what_was_not_sent_and_quotes_odd_names() -> None:
    report = Report("images:a", total=10, confirmed=5, stopped_by="it was interrupted", signal=2)
    report.unconfirmed = {1: "x"}
    report.failures.append(Failure("a\x1b[31m\udce9.png", "bad-key", "no"))
    report.next_offsets = {1: 7, 0: 3}
    assert report.not_sent == 3
    assert report.exit_status == 130
    assert report.min_offsets == "0:3,1:7"
    text = "\n".join(report.complaints())
    assert "\x1b" not in text
    text.encode()
    report.as_json().encode()
    assert Report("images:a", total=1, confirmed=1).exit_status == 0
    assert Report("images:a", total=1, failures=[Failure("a", "empty", "")]).exit_status == 1


def test_report_counts_what_is_no_picture_in_words_and_lists_it_when_asked() -> None:
    report = Report("images:a", total=1, confirmed=1)
    assert "Left out" not in report.as_text()
    kinds = [".txt"] * 3 + [".mov"] * 2 + [".DS_Store", "folder-link", "empty", "empty"]
    report.left_out = [LeftOut(f"file {number}", kind, "why") for number, kind in enumerate(kinds)]
    report.renamed = {f"new\nline {number}": f"new_line~{number}" for number in range(30)}
    assert report.exit_status == 0
    assert (
        "Left out: 3 .txt, 2 .mov, 1 .DS_Store, 2 empty files, 1 link to a folder; --follow-links" in report.as_text()
    )
    assert json.loads(report.as_json())["left_out"] == {
        ".txt": 3, ".mov": 2, "empty": 2, ".DS_Store": 1, "folder-link": 1
    }  # fmt: skip
    assert len(report.remarks()) == 21
    listed = report.remarks(verbose=True)
    assert len(listed) == 39
    assert "'file 5' was left out (.DS_Store): why" in listed
    assert not any("\n" in line for line in listed)


@given(st.uuids())
def test_log_names_the_topic_id_as_kafkas_tools_do(topic_id: object) -> None:
    name = log_of("images", str(topic_id))
    assert len(name) == len("images:") + 22
    assert set(name[7:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
