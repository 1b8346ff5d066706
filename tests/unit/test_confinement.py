"""The decoder child asks the system for nothing but memory, threads and time, and decodes all the same."""

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from model import limited_process
from tests.attacker import ATTACKS, ORDINARY, TakenOver
from tests.networks import onnx_network, saved
from tests.unit.test_images import DIGIT, FILES, HEIC

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the filter")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "old").write_bytes(b"secret")
    return tmp_path


@pytest.fixture(scope="module")
def confined() -> Iterator[TakenOver]:
    decoder = TakenOver()
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def free() -> Iterator[TakenOver]:
    decoder = TakenOver(is_confined=False)
    yield decoder
    decoder.close()


def unconfined(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """What is said of children that are not confined, beside what others say meanwhile."""
    return [event for event in logs if event["event"] == "child_not_confined"]


def test_a_child_that_is_taken_over_reaches_nothing(confined: TakenOver, folder: Path) -> None:
    with capture_logs() as logs:
        found = {name: confined.attempt(name, folder) for name in ATTACKS}
    assert found == dict.fromkeys(found, "EPERM")
    assert [path.name for path in folder.iterdir()] == ["old"]
    assert (folder / "old").read_bytes() == b"secret"
    assert unconfined(logs) == []


def test_what_is_not_confined_says_so_once_and_goes_on(free: TakenOver, folder: Path) -> None:
    """Also the proof that the attacks are attacks."""
    limited_process._say_unconfined.cache_clear()
    with capture_logs() as logs:
        for _ in range(2):
            free.close()
            assert free.decode([DIGIT]).images[0].reason == ""
    told = unconfined(logs)
    assert [(event["child"], event["log_level"]) for event in told] == [("decoder", "warning")]
    assert "a machine of tomorrow" in told[0]["why"]
    assert {name: free.attempt(name, folder) for name in ORDINARY} == dict.fromkeys(ORDINARY, "done")


def test_a_confined_child_decodes_every_format_as_one_that_is_not(confined: TakenOver, free: TakenOver) -> None:
    values = [*FILES.values(), HEIC, DIGIT, DIGIT[:-30]]
    found, expected = (decoder.decode(values, with_hypotheses=True).images for decoder in (confined, free))
    assert found == expected
    assert [image.reason for image in found] == [""] * (len(values) - 1) + ["truncated"]


def ran(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_a_kernel_that_refuses_is_told_and_threads_are_confined_too() -> None:
    done = ran("""
import os, threading
from model.confinement import confine
go, found = threading.Event(), []
def reads():
    go.wait()
    try:
        os.listdir("/")
    except OSError as error:
        found.append(error.strerror)
thread = threading.Thread(target=reads)
thread.start()
assert confine() == "", "not confined"
go.set()
thread.join()
print(found, confine())
""")
    assert done.stdout == "['Operation not permitted'] prctl failed: Operation not permitted\n", done.stderr


def test_what_may_read_does_nothing_else(folder: Path) -> None:
    done = ran(f"""
import os, pathlib, socket
from model.confinement import confine
assert confine(may_read=True) == ""
old = pathlib.Path({str(folder / "old")!r})
print(old.read_bytes(), os.listdir(old.parent))
for attack in (
    lambda: old.open("ab"), lambda: old.open("r+b"), lambda: os.open(old, os.O_RDONLY | os.O_TRUNC),
    lambda: os.open(old.with_name("new"), os.O_RDONLY | os.O_CREAT), old.unlink, socket.socket, os.fork,
):
    try:
        attack()
    except PermissionError:
        print("refused")
""")
    assert done.stdout == "b'secret' ['old']\n" + "refused\n" * 7, done.stderr


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86-64 has calls in 32 bits")
def test_what_asks_as_another_processor_would_is_killed() -> None:
    """getpid() has the number 20 there: mov eax, 20; int 0x80; ret."""
    asking = """
import ctypes, mmap, os
from model.confinement import confine
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))
ask = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
assert ask() in (os.getpid(), -38)
assert CONFINED == ""
ask()
"""
    assert ran(asking.replace("CONFINED", '""')).returncode == 0
    assert ran(asking.replace("CONFINED", "confine()")).returncode == -signal.SIGSYS


def test_onnx_runtime_leaves_nothing_in_the_home_of_whoever_runs_it(tmp_path: Path) -> None:
    """Left alone, it keeps there what it will send to its maker."""
    path = saved(onnx_network(), tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    program = (
        f"from pathlib import Path; from model.networks.runtimes import OnnxNetwork; OnnxNetwork(Path({str(path)!r}))"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "ORT_"))}
    subprocess.run([sys.executable, "-c", program], env=environment | {"HOME": str(home)}, check=True)
    assert list(home.rglob("*")) == []
