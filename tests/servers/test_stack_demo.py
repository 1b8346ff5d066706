"""The one command that shows everything."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import Settings
from stack import groups
from stack.programs import environment
from stack.state import read_state
from tests.people import make_people_folder, photographs

ROOT = Path(__file__).parents[2]
IMAGES = 300
DEADLINE_S = 250


def run_demo(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`make demo EXIT=1`; the running servers serve it, on a pipeline of its own."""
    return subprocess.run(
        [sys.executable, "-m", "stack", "demo", *(arguments or ("--images", str(IMAGES))), "--exit"],
        cwd=ROOT,
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def demo(settings: Settings, *arguments: str) -> str:
    """What it prints."""
    done = run_demo(settings, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_demo_ends_with_neighbours_and_leaves_what_was_running(settings: Settings) -> None:
    """The second run publishes the same images again: progress counts offsets, the gallery does not grow."""
    for _ in range(2):
        shown = demo(settings)
        assert f"searchable {IMAGES} of {IMAGES}" in shown
        assert f"exact over {IMAGES} images" in shown
        counted = re.findall(r"shows a (\d); so do (\d+) of its 10 nearest", shown)
        assert [label for label, _ in counted] == ["7", "2", "1", "0", "4"]
        # 300 images hold about 30 of each digit; most neighbours are still right.
        assert sum(int(same) for _, same in counted) >= 25
        assert f"http://127.0.0.1:{settings.api_port}/?collection=digits" in shown
        assert read_state(settings, "programs") is None
    assert groups.up(settings, "servers") is False


@pytest.mark.timeout(600)
def test_demo_of_a_folder_finds_altered_pictures_and_shows_digits_beside_them(
    settings: Settings, tmp_path: Path
) -> None:
    """A folder as people have them. A second run publishes nothing new, and deletes what has left meanwhile."""
    folder = tmp_path / "My Pictures"
    made = make_people_folder(folder, copies=4)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    shown = demo(settings, "--folder", str(folder), "--images", "100")
    assert f"holds {len(made) + 1} pictures. Left out: 3 .txt, 2 .mov, 2 .xmp, 1 .DS_Store, 1 .jpg, 1 empty" in shown
    assert "1 could not be decoded: 'broken.png': " in shown
    assert f"exact over {len(made)} images" in shown
    found = re.findall(r"^\d\. '(.*)' .*: found at place (\d+), distance \d\.\d+$", shown, re.MULTILINE)
    assert {image_id for image_id, _ in found} <= made.keys()
    assert len(found) == 5, "each is among the ten nearest"
    assert [place for _, place in found].count("1") >= 3
    assert "altered pictures found the one that they were made of first." in shown
    assert "?collection=photos" in shown
    assert "exact over 100 images" in shown, "the digits beside them"

    gone = next(iter(made))
    (folder / gone).unlink()
    assert f"exact over {len(made) - 1} images" in demo(settings, "--folder", str(folder), "--images", "0")
    assert groups.up(settings, "servers") is False


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_demo_of_one_picture_finds_it_altered_in_five_ways(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    next(photographs()).save(tmp_path / "one" / "only.jpg")
    shown = demo(settings, "--folder", str(tmp_path / "one"), "--images", "0")
    assert "5 of 5 altered pictures found" in shown
    assert shown.count("'only.jpg'") == 5
