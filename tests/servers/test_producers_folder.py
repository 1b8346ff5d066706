"""`python -m producers folder` over folders as people have them, against a real Kafka: what is taken, left out, deleted, watched."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from kafka.consumer.fetcher import ConsumerRecord
from PIL import Image
from sklearn.datasets import load_sample_images

from contract.settings import Settings
from producers.ids import file_id
from tests.kafka_topic import read_topic
from tests.people import make_people_folder
from tests.servers.test_producers_commands import handles_interrupt, make_images, run, start, wait_until
from tests.unit.test_producers import make_odd_folder
from topics.topic import ensure_topics


@pytest.fixture
def topic(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a topic of this test's own, and of a folder in which the producer remembers."""
    ensure_topics(settings)
    return settings.model_copy(update={"var_dir": tmp_path / "var"})


def gallery(settings: Settings) -> dict[str, bytes]:
    """What the topic means: the last value of each key, deletions applied."""
    return {key: record.value for key, record in last_records(settings).items() if record.value is not None}


def last_records(settings: Settings) -> dict[str, ConsumerRecord]:
    return {record.key.decode(): record for record in read_topic(settings)}


@contextmanager
def watching(settings: Settings, folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A producer that watches; interrupted at the end, which has to end it in order."""
    process = start(settings, "folder", str(folder), "--watch", "--json", *arguments)
    try:
        yield process
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert b"Traceback" not in err
        assert process.returncode == 0, err
        process.report = json.loads(out)  # type: ignore[attr-defined]
        process.told = err.decode()  # type: ignore[attr-defined]
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def test_odd_names_are_published_under_ids_that_can_be_and_the_rest_is_counted(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    make_odd_folder(folder)
    (folder / "notes.txt").write_text("no image")
    status, report, err = run(topic, "folder", str(folder))
    odd = ["new\nline.png", os.fsdecode(b"latin-\xe9.png")]
    published = {"plain.png", "with space.png", "émoji 🐈.png", "deep/er/deepest/a.png", "-dash.png", "a'b\"c.png"}
    published |= {file_id(name) for name in odd}
    assert (status, report["failed"]) == (0, [])
    assert set(gallery(topic)) == published
    assert report["confirmed"] == len(published)
    assert report["renamed"] == {name: file_id(name) for name in odd}
    assert report["left_out"] == {".txt": 1, "folder-link": 1, "broken-link": 2, "not-a-file": 1}
    assert f"'new\\nline.png' cannot be an id: its id is {file_id(odd[0])!r}." in err
    assert "notes.txt" not in err
    listed = run(topic, "folder", str(folder), "--verbose")[2]
    assert f"'{folder}/notes.txt' was left out (.txt): The value begins" in listed


def test_folder_as_people_have_them_ends_with_status_0(topic: Settings, tmp_path: Path) -> None:
    pictures = make_people_folder(tmp_path / "My Pictures", copies=3)
    process = start(topic, "folder", str(tmp_path / "My Pictures"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert gallery(topic) == pictures
    kinds = "3 .txt, 2 .mov, 2 .xmp, 1 .DS_Store, 1 .jpg, 1 empty file, 1 link to a folder, 1 link to a file outside"
    assert f"Left out: {kinds}; --follow-links" in out.decode()
    assert b"was left out" not in err


def test_linked_folders_are_published_only_when_asked_for(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, 3)
    outside = make_images(tmp_path / "outside", 2)
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "loop").symlink_to(folder)
    run(topic, "folder", str(folder))
    assert gallery(topic) == made
    status, report, _ = run(topic, "folder", str(folder), "--follow-links")
    assert (status, report["confirmed"], report["left_out"]) == (0, 5, {"folder-again": 1})
    assert gallery(topic) == made | {f"link/{key}": value for key, value in outside.items()}


def test_delete_makes_the_gallery_what_the_folder_is_and_touches_no_other_id(topic: Settings, tmp_path: Path) -> None:
    folder, other = tmp_path / "pictures", tmp_path / "other"
    made, others = make_images(folder, 8), make_images(other, 2)
    (folder / os.fsdecode(b"\xe9.png")).write_bytes(made[next(iter(made))])
    shutil.copytree(other, tmp_path / "both")
    run(topic, "mnist", "--images", "2")
    assert run(topic, "folder", str(folder))[0] == 0
    assert run(topic, "folder", str(other))[0] == 0
    assert run(topic, "folder", str(tmp_path / "both"))[0] == 0
    before = gallery(topic)
    assert set(others) <= set(made), "both folders publish some ids"

    for key in (*list(made)[:4], os.fsdecode(b"\xe9.png")):
        (folder / key).unlink()
    status, report, err = run(topic, "folder", str(folder), "--delete")
    gone = {*list(made)[2:4], file_id(os.fsdecode(b"\xe9.png"))}
    assert (status, report["deleted"], report["confirmed"]) == (0, len(gone), 0)
    assert set(gallery(topic)) == set(before) - gone
    assert "Not deleted: 2 images, since the folder" in err
    assert run(topic, "folder", str(folder), "--delete")[1]["deleted"] == 0

    folder.rename(tmp_path / "unplugged")
    status, _, err = run(topic, "folder", str(folder), "--delete")
    assert (status, "is not a folder" in err) == (1, True)
    folder.mkdir()
    status, report, err = run(topic, "folder", str(folder), "--delete")
    assert (status, report["deleted"]) == (0, 0)
    assert "not mounted" in err
    assert set(gallery(topic)) == set(before) - gone


def test_delete_goes_by_the_state_file_that_is_named(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, 3)
    state = str(tmp_path / "state.json")
    assert "Nothing is known of an earlier run" in run(topic, "folder", str(folder), "--delete", "--state", state)[2]
    (folder / next(iter(made))).unlink()
    assert run(topic, "folder", str(folder), "--delete", "--state", state)[1]["deleted"] == 1
    assert set(gallery(topic)) == set(list(made)[1:])


def test_watch_publishes_what_arrives_and_changes_and_deletes_what_leaves(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "my pictures"
    made = make_images(folder, 6)
    keys = list(made)
    with watching(topic, folder, "--delete") as process:
        wait_until(lambda: gallery(topic) == made)
        # In a folder that is new, and in one below it.
        (folder / "new" / "er").mkdir(parents=True)
        (folder / "new" / "er" / "a b.png").write_bytes(made[keys[0]])
        (folder / "new" / "notes.txt").write_text("no picture")
        wait_until(lambda: "new/er/a b.png" in gallery(topic))
        (folder / "new" / "er" / "c.png").write_bytes(made[keys[3]])
        (folder / keys[1]).write_bytes(made[keys[2]])
        (folder / keys[4]).rename(folder / "renamed.jpg")
        shutil.rmtree((folder / keys[5]).parent)
        expected = {key: made[key] for key in (keys[0], keys[2], keys[3])} | {
            keys[1]: made[keys[2]],
            "renamed.jpg": made[keys[4]],
            "new/er/a b.png": made[keys[0]],
            "new/er/c.png": made[keys[3]],
        }
        wait_until(lambda: gallery(topic) == expected)
    assert process.report["deleted"] == 2  # type: ignore[attr-defined]
    assert process.report["left_out"] == {".txt": 1}  # type: ignore[attr-defined]
    assert len(read_topic(topic)) == 6 + 4 + 2, "nothing was published twice"


def test_watch_publishes_a_file_that_is_written_slowly_once_and_whole(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, 9)
    values = [value for value in made.values() for _ in range(4)]
    whole = make_large_jpeg()
    with watching(topic, folder):
        wait_until(lambda: gallery(topic) == made)
        with (folder / "slow.jpg").open("wb", buffering=0) as file:
            for at in range(0, len(whole), len(whole) // 8):
                file.write(whole[at : at + len(whole) // 8])
                # What comes meanwhile shows that it went on looking; one pause is longer than a file has to stand still.
                (folder / f"{at}.png").write_bytes(values.pop())
                wait_until(lambda at=at: f"{at}.png" in gallery(topic))  # type: ignore[misc]
        wait_until(lambda: "slow.jpg" in gallery(topic))
    records = [record for record in read_topic(topic) if record.key == b"slow.jpg"]
    assert [record.value for record in records] == [whole]


def test_watched_folder_that_vanishes_deletes_nothing_and_is_waited_for(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, 5)
    with watching(topic, folder, "--delete") as process:
        wait_until(lambda: gallery(topic) == made)
        folder.rename(tmp_path / "unplugged")
        assert process.stderr is not None
        wait_until(lambda: b"Waiting for it to come back" in process.stderr.readline())  # type: ignore[union-attr]
        folder.mkdir()  # what an empty mount point is
        wait_until(lambda: b"not mounted" in process.stderr.readline())  # type: ignore[union-attr]
        folder.rmdir()
        (tmp_path / "unplugged").rename(folder)
        (folder / "new.png").write_bytes(made[next(iter(made))])
        wait_until(lambda: "new.png" in gallery(topic))
        assert set(gallery(topic)) == {*made, "new.png"}
        (folder / "new.png").unlink()
        wait_until(lambda: "new.png" not in gallery(topic))
    assert len(read_topic(topic)) == 7


def test_watch_goes_on_where_it_ended(topic: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    made = make_images(folder, 5)
    with watching(topic, folder, "--delete"):
        wait_until(lambda: gallery(topic) == made)
    (folder / next(iter(made))).unlink()
    (folder / "new.png").write_bytes(made[next(iter(made))])
    with watching(topic, folder, "--delete"):
        wait_until(lambda: set(gallery(topic)) == {*list(made)[1:], "new.png"})
    assert len(read_topic(topic)) == 7


def test_interrupt_in_the_middle_of_what_a_watch_publishes_says_what_is_missing(
    topic: Settings, tmp_path: Path
) -> None:
    made = make_images(tmp_path / "pictures", 400)
    process = start(topic, "folder", str(tmp_path / "pictures"), "--watch", "--rate", "50", "--json")
    wait_until(lambda: len(read_topic(topic)) > 30)
    assert handles_interrupt(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    report = json.loads(out)
    assert process.returncode == 130
    assert report["confirmed"] == len(read_topic(topic)) < len(made)
    assert b"Run it again" in err


def make_large_jpeg() -> bytes:
    """A photograph of some size: its first parts are no whole JPEG."""
    buffer = BytesIO()
    Image.fromarray(load_sample_images().images[0]).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def test_time_is_not_spent_while_nothing_happens(topic: Settings, tmp_path: Path) -> None:
    """Looking again and again, as after writing into the watched folder oneself, would cost a core."""
    folder = tmp_path / "pictures"
    made = make_images(folder, 200)
    with watching(topic, folder, "--state", str(folder / "state.json"), "--delete") as process:
        wait_until(lambda: gallery(topic) == made)
        wait_until(lambda: (folder / "state.json").exists())
        before_s, began_s = cpu_s(process.pid), time.monotonic()
        wait_until(lambda: time.monotonic() - began_s > 4)
        assert cpu_s(process.pid) - before_s < 1.0


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
