"""A producer is killed before and after Kafka's confirmation and around its state file: run again, it completes the topic."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from contract.settings import Settings
from runtime.failpoints import VARIABLE
from stack.jars import ROOT
from stack.programs import environment
from tests.servers.test_producers_commands import by_key, make_images, run
from topics.topic import ensure_topics

STEPS = (
    "publisher-before-send:40",
    "publisher-after-send:40",
    "publisher-after-confirmation:40",
    "state-before-rename",
    "state-after-rename",
)


@pytest.mark.parametrize("step", STEPS)
def test_folder_killed_at_any_step_is_complete_after_the_next_run(
    settings: Settings, tmp_path: Path, step: str
) -> None:
    ensure_topics(settings)
    made = make_images(tmp_path / "pictures", 120)
    state = tmp_path / "state.json"
    arguments = ("folder", str(tmp_path / "pictures"), "--state", str(state))
    killed = subprocess.run(
        [sys.executable, "-m", "producers", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment(settings), VARIABLE: step},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()

    claimed = set(json.loads(state.read_bytes())["published"]) if state.exists() else set()
    assert claimed <= set(by_key(settings)), "the state claims only what Kafka has"
    status, report, _ = run(settings, *arguments)
    assert (status, report["confirmed"]) == (0, len(made) - len(claimed))
    assert by_key(settings) == made
    assert run(settings, *arguments)[1]["confirmed"] == 0
