"""Lines of a program's log: one event each, whichever thread and whichever library writes it."""

import json
import subprocess
import sys

LINES = 2_000
PROGRAM = f"""
import logging, sys
from concurrent.futures import ThreadPoolExecutor
import structlog
from contract.telemetry import configure_logging

configure_logging()
sys.setswitchinterval(1e-6)
ours, a_librarys = structlog.get_logger(), logging.getLogger("a library")
with ThreadPoolExecutor(4) as threads:
    for number in range({LINES}):
        threads.submit(ours.info, "ours", number=number)
        threads.submit(a_librarys.warning, "a library's %d", number)
"""


def test_lines_of_two_threads_never_stand_in_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(line["number"] for line in lines if line["event"] == "ours") == list(range(LINES))
    assert {line["event"] for line in lines} == {"ours"} | {f"a library's {number}" for number in range(LINES)}
