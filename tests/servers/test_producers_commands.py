"""`python -m producers` against a real Kafka, interrupted and killed: what it says is so, and a second run completes it."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contract.messages import metadata_of
from contract.settings import Settings
from model import mnist
from stack.ports import free_ports
from stack.programs import environment
from tests.conftest import fresh_settings
from tests.kafka_topic import read_topic, topic_log
from topics.topic import ensure_topics

ROOT = Path(__file__).parents[2]
RUN_S_MAX = 240.0


def start(settings: Settings, *arguments: str, stdin: int | None = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "producers", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment(settings)},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(settings: Settings, *arguments: str, lines: bytes = b"") -> tuple[int, dict[str, Any], str]:
    """Exit status, report and stderr of a run with `--json`."""
    process = start(settings, *arguments, "--json", stdin=subprocess.PIPE)
    try:
        out, err = process.communicate(lines, timeout=RUN_S_MAX)
    finally:
        process.kill()
    return process.returncode, json.loads(out or b"{}"), err.decode()


def wait_until(is_so: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def make_images(folder: Path, count: int) -> dict[str, bytes]:
    """`count` small PNG, JPEG and WebP files in nested folders; their bytes by key."""
    generator = random.Random(1)
    made = {}
    for n in range(count):
        pixels = np.frombuffer(generator.randbytes(64), np.uint8).reshape(8, 8)
        kind = ("PNG", "JPEG", "WEBP")[n % 3]
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        key = f"{n % 7}/ü {n % 11}/bild {n} 🐈.{kind.lower()}"
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(buffer.getvalue())
        made[key] = buffer.getvalue()
    return made


def by_key(settings: Settings) -> dict[str, bytes]:
    return {record.key.decode(): record.value for record in read_topic(settings)}


def test_mnist_publishes_digits_with_their_labels(settings: Settings) -> None:
    ensure_topics(settings)
    status, report, err = run(settings, "mnist", "--split", "test", "--images", "300", "--rate", "200")
    assert (status, report["confirmed"], report["not_sent"], report["failed"]) == (0, 300, 0, [])
    assert report["log"] == topic_log(settings)
    assert "300/300" in err
    assert report["seconds"] > 1.4, "the rate was not kept"
    records = {record.key.decode(): record for record in read_topic(settings)}
    assert len(records) == 300
    for index in (0, 1, 299):
        record = records[f"mnist/test/{index:05d}"]
        digit = np.asarray(Image.open(BytesIO(record.value)))
        assert np.array_equal(digit, mnist.images("test")[index])
        label = int(mnist.labels("test")[index])
        assert json.loads(metadata_of(record.headers)) == {"label": label, "index": index, "split": "test"}
    ends = dict(part.split(":") for part in report["min_offsets"].split(","))
    assert sum(map(int, ends.values())) == 300


def test_interrupted_run_says_exactly_what_was_confirmed(settings: Settings) -> None:
    ensure_topics(settings)
    for sent_signal, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        before = len(read_topic(settings))
        process = start(settings, "mnist", "--rate", "200", "--json")
        wait_until(lambda count=before: len(read_topic(settings)) > count + 50)  # type: ignore[misc]
        process.send_signal(sent_signal)
        out, err = process.communicate(timeout=20)
        report = json.loads(out)
        assert process.returncode == status
        assert report["confirmed"] == len(read_topic(settings)) - before
        assert (report["unconfirmed"], report["confirmed"] + report["not_sent"]) == ([], 60_000)
        assert b"Run it again" in err


def test_ctrl_c_ends_a_wait_for_the_next_line(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    (name,) = make_images(tmp_path, 1)
    process = start(settings, "stdin", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b"no such file\n" + os.fsencode(tmp_path / name) + b"\n")
    process.stdin.flush()
    # Once the second line's image has arrived, it waits for the next line, which never comes.
    wait_until(lambda: len(read_topic(settings)) == 1)
    assert handles_interrupt(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert json.loads(out)["failed"][0]["reason"] == "vanished"
    assert b"no such file" in err


def test_state_lets_only_new_and_changed_files_through(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    folder = tmp_path / "images"
    made = make_images(folder, 40)
    state = str(folder / "state.json")
    assert run(settings, "folder", str(folder), "--state", state)[1]["confirmed"] == 40
    assert by_key(settings) == made
    status, report, err = run(settings, "folder", str(folder), "--state", state)
    assert (status, report["confirmed"]) == (0, 0)
    assert "40 of them unchanged" in err
    changed, other = list(made)[:2]
    (folder / changed).write_bytes(made[other])
    (folder / "new.png").write_bytes(made[other])
    assert run(settings, "folder", str(folder), "--state", state)[1]["confirmed"] == 2
    assert len(read_topic(settings)) == 42


def test_folder_that_was_killed_again_and_again_is_complete_at_last(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    folder = tmp_path / "images"
    made = make_images(folder, 1000)
    state = tmp_path / "state.json"
    arguments = ("folder", str(folder), "--state", str(state))
    for sent_signal, at_least in ((signal.SIGKILL, 100), (signal.SIGINT, 300)):
        process = start(settings, *arguments, "--rate", "400")
        wait_until(lambda count=at_least: len(by_key(settings)) >= count)  # type: ignore[misc]
        process.send_signal(sent_signal)
        process.communicate(timeout=20)
    confirmed = set(json.loads(state.read_bytes())["published"])
    assert confirmed <= set(by_key(settings)), "the state claims only what Kafka has"
    status, report, _ = run(settings, *arguments)
    assert status == 0
    assert by_key(settings) == made
    assert report["confirmed"] == 1000 - len(confirmed)


def test_stdin_publishes_each_file_as_its_line_arrives(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    made = make_images(tmp_path, 3)
    names = [str(tmp_path / key) for key in made]
    process = start(settings, "stdin", "--json", stdin=subprocess.PIPE)
    assert process.stdin is not None
    for count, name in enumerate(names, 1):
        process.stdin.write(os.fsencode(name) + b"\n")
        process.stdin.flush()
        wait_until(lambda count=count: len(read_topic(settings)) == count)  # type: ignore[misc]
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, json.loads(out)["confirmed"]) == (0, 3)
    assert by_key(settings) == dict(zip(names, made.values(), strict=True))


def test_without_kafka_each_command_fails_with_the_remedy(stack: Settings, tmp_path: Path) -> None:
    away = fresh_settings(stack, tmp_path, kafka_bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    process = start(away, "mnist", "--images", "1")
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, b"")
    assert b"make up" in err
    assert b"Traceback" not in err


def handles_interrupt(pid: int) -> bool:
    """Whether the process catches SIGINT in a way of its own, as Linux tells."""
    caught = next(line for line in status_of(pid).splitlines() if line.startswith(b"SigCgt"))
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def status_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/status").read_bytes()
