"""Waiting for what we depend on."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import threading, time
from runtime import retrying
retrying.CALL_S_MAX, retrying.WATCH_INTERVAL_S = 0.2, 0.05
retrying.end_when_a_call_hangs()
retrying.retrying(lambda: time.sleep(0.05), "cassandra", threading.Event())
retrying.retrying(lambda: time.sleep(0.5), "decoder", threading.Event())
print("those come back", flush=True)
retrying.retrying(lambda: time.sleep(30), "cassandra", threading.Event())
"""


def test_a_process_ends_and_tells_where_it_was_when_a_call_never_comes_back() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=25
    )
    assert ended.returncode == 1
    assert "those come back" in ended.stdout
    assert "ending because a call hangs" in ended.stdout and "retrying.py" in ended.stderr
