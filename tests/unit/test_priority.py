"""Who goes first where there is too little of the processor: what `LOOKALIKE_FIRST` says, for every program."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from contract.settings import environment_of, load_settings
from runtime.priority import GIVES_WAY
from stack.ports import free_ports

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("program", "first", "levels"),
    [
        ("api serve", "searches", 0),
        ("api serve", "images", GIVES_WAY),
        ("workers embedder", "searches", GIVES_WAY),
        ("workers indexer", "searches", GIVES_WAY),
        ("workers indexer", "fair", 0),
    ],
)
def test_program_gives_way_unless_its_part_comes_first(program: str, first: str, levels: int, tmp_path: Path) -> None:
    expected = os.nice(0) + levels
    kafka, cassandra, api = free_ports(3)  # where nothing listens, so that nothing goes on
    settings = load_settings(
        first=first, var_dir=tmp_path, kafka_bootstrap=f"127.0.0.1:{kafka}", cassandra_port=cassandra, api_port=api
    )
    process = subprocess.Popen(
        [sys.executable, "-m", *program.split()],
        cwd=ROOT,
        env={**os.environ, **environment_of(settings)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()  # it gives way before it says anything, and before its threads start
        running = psutil.Process(process.pid)
        assert running.nice() == expected
        with contextlib.suppress(FileNotFoundError):
            session = Path(f"/proc/{process.pid}/autogroup").read_text()
            assert session.split()[-1] == str(expected)
    finally:
        process.kill()
        process.communicate()
