"""Sources and reports without Kafka."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import ConfigurationError, RejectedError
from contract.messages import IMAGE_SIZE_BYTES_MAX, check_image_id, log_of
from model import mnist
from producers.files import read_file
from producers.folder import Found, find_files, is_state_file
from producers.lines import line_images
from producers.mnist import mnist_images
from producers.outgoing import Failure, Outgoing
from producers.report import Report
from producers.state import State

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


def test_every_file_of_a_folder_is_found_once_and_the_rest_is_reported(tmp_path: Path) -> None:
    make_odd_folder(tmp_path)
    found = list(find_files(str(tmp_path)))
    keys = [file.key for file in found if isinstance(file, Found)]
    assert len(keys) == len(set(keys))
    assert {"plain.png", "with space.png", "émoji 🐈.png", "deep/er/deepest/a.png", "-dash.png", "a'b\"c.png"} <= set(
        keys
    )
    reasons = {Path(failed.name).name: failed.reason for failed in found if isinstance(failed, Failure)}
    assert reasons == {"back up": "link-loop", "gone.png": "unreadable", "itself.png": "unreadable"}


def test_names_that_cannot_be_ids_are_refused_by_the_contract_and_not_by_a_crash(tmp_path: Path) -> None:
    make_odd_folder(tmp_path)
    for file in find_files(str(tmp_path)):
        if isinstance(file, Found) and Path(file.key).name in (os.fsdecode(b"latin-\xe9.png"), "new\nline.png"):
            with pytest.raises(RejectedError, match="bad-key"):
                check_image_id(file.key)


def test_linked_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.png").write_bytes(PNG)
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "link").symlink_to(tmp_path / "real")
    assert [file.key for file in find_files(str(tmp_path / "top")) if isinstance(file, Found)] == ["link/a.png"]


def test_file_becomes_an_image_with_its_name_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a b.png"
    path.write_bytes(PNG)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    read = read_file(str(path), "the/key")
    assert isinstance(read, Outgoing)
    assert (read.image_id, read.value) == ("the/key", PNG)
    assert read.metadata == {"name": "a b.png", "size_bytes": len(PNG), "modified": "2023-11-14T22:13:20Z"}


def test_what_is_no_readable_file_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    big = tmp_path / "big.png"
    with big.open("wb") as file:
        file.truncate(IMAGE_SIZE_BYTES_MAX + 1)
    os.mkfifo(tmp_path / "pipe")
    cases = {
        str(big): "too-large",
        str(tmp_path / "pipe"): "not-a-file",
        str(tmp_path): "unreadable",
        "a\0b": "unreadable",
    }
    for path, reason in cases.items():
        failed = read_file(path, "key")
        assert isinstance(failed, Failure)
        assert failed.reason == reason


def test_lines_name_files_and_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a b.png").write_bytes(PNG)
    read = list(line_images([b"./a b.png\n", b"\n", b"missing.png\n", b"a b.png"]))
    assert [image.image_id if isinstance(image, Outgoing) else image.reason for image in read] == [
        "a b.png",
        "unreadable",
        "a b.png",
    ]


def test_mnist_keys_and_metadata_count_alike_from_zero() -> None:
    images = list(mnist_images("test", 3))
    assert [image.image_id for image in images] == ["mnist/test/00000", "mnist/test/00001", "mnist/test/00002"]
    for index, image in enumerate(images):
        assert image.metadata == {"label": int(mnist.labels("test")[index]), "index": index, "split": "test"}


def test_state_remembers_what_was_confirmed_across_runs(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    state = State(file, "/photos", "images:a")
    state.add("a.png", (1, 2, 3))
    state.save()
    again = State(file, "/photos", "images:a")
    assert again.is_published("a.png", (1, 2, 3))
    assert not again.is_published("a.png", (1, 2, 4)), "a changed file is new"
    assert not again.is_published("b.png", (1, 2, 3))
    assert is_state_file(Found(str(file), "state.json", ()), file)


def test_state_of_a_topic_that_was_made_anew_is_forgotten(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json", "/photos", "images:a")
    state.add("a.png", (1, 2, 3))
    state.save()
    again = State(tmp_path / "state.json", "/photos", "images:b")
    assert not again.is_published("a.png", (1, 2, 3))
    assert "images:b" in again.forgot


@pytest.mark.parametrize(
    "text", ["", "[]", '{"folder": "/photos", "log": "x"}', '{"folder": "/other", "log": "x", "published": {}}']
)
def test_foreign_state_file_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"state\.json"):
        State(file, "/photos", "x")
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


@given(st.uuids())
def test_log_names_the_topic_id_as_kafkas_tools_do(topic_id: object) -> None:
    name = log_of("images", str(topic_id))
    assert len(name) == len("images:") + 22
    assert set(name[7:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
