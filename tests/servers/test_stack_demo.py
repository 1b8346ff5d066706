"""The one command that shows everything."""

import os
import re
import subprocess
import sys
from pathlib import Path

from contract.settings import Settings
from stack import groups
from stack.programs import environment
from stack.state import read_state

ROOT = Path(__file__).parents[2]
IMAGES = 300
DEADLINE_S = 250


def demo(settings: Settings) -> str:
    """What `make demo EXIT=1` prints; the running servers serve it, on a road of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "stack", "demo", "--images", str(IMAGES), "--exit"],
        cwd=ROOT,
        env={**os.environ, **environment(settings)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_demo_ends_with_neighbours_and_leaves_what_was_running(road: Settings) -> None:
    """The second run publishes the same images again: progress counts offsets, the gallery does not grow."""
    for _ in range(2):
        shown = demo(road)
        assert f"searchable {IMAGES} of {IMAGES}" in shown
        assert f"exact over {IMAGES} images" in shown
        counted = re.findall(r"shows a (\d); so do (\d+) of its 10 nearest", shown)
        assert [label for label, _ in counted] == ["7", "2", "1", "0", "4"]
        # 300 images hold about 30 of each digit; most neighbours are still right.
        assert sum(int(same) for _, same in counted) >= 25
        assert f"http://127.0.0.1:{road.api_port}/" in shown
        assert read_state(road, "programs") is None
    assert groups.up(road, "servers") is False
