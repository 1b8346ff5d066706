"""What the audit takes: processor time of it and of the servers that it asks, memory, and how many records it compares for that."""

import time
import urllib.request
from typing import Any

from bench.machine import machine, versions
from bench.memory import Peaks
from bench.own_pipeline import own_pipeline, own_programs, publish_all, wait_for_child
from bench.processor_time import OURS, pids_of, processor_time
from contract.settings import Settings
from model import mnist
from stack.ports import free_ports
from stack.process import start_child
from stack.programs import audit
from workers.audit.program import STRETCH_RECORDS

# As it comes, and as fast as it can.
SHARES = (Settings.model_fields["audit_share"].default, 1.0)
STOP_S = 15.0
START_S = 300.0
_CHECKED = "lookalike_audit_checked_total"


def measure_audit(settings: Settings, digits: int, seconds: float) -> dict[str, Any]:
    """A row for each share of a core, over digits that nobody adds to. Kafka and Cassandra must run; what is published stays there.

    Raises:
        DependencyError: Kafka or Cassandra does not run, or the audit compares nothing.
    """
    figures: dict[str, Any] = {"machine": machine(), "versions": versions(), "digits": digits, "seconds": seconds}
    servers = pids_of(settings, "servers")
    with own_pipeline(settings, "audit") as own:
        with own_programs(own, with_api=False):
            publish_all(own, [mnist.png(image) for image in mnist.images("train")[:digits]], "audit")
        figures["rows"] = [_row(own, share, seconds, servers) for share in SHARES]
    return figures


def _row(own: Settings, share: float, seconds: float, servers: dict[str, int]) -> dict[str, Any]:
    settings = own.model_copy(update={"audit_share": share, "audit_metrics_port": free_ports(1)[0]})
    child = start_child(audit(settings))
    peaks = Peaks({"audit": child})
    try:
        # The first stretch takes longest, and the rest after it too.
        wait_for_child(
            "audit",
            child,
            lambda: _checked(settings) > STRETCH_RECORDS,
            timeout_s=START_S,
            lacking=f"It has compared next to nothing after {START_S:g} s.",
        )
        with processor_time({"audit": child.pid} | servers) as taken_s:
            began, before = time.monotonic(), _checked(settings)
            time.sleep(seconds)
            wall_s, count = time.monotonic() - began, _checked(settings) - before
    finally:
        peaks.close()
        child.stop(STOP_S)
    return {
        "method": f"{share:g} of a core",
        "records": round(count),
        "records_per_s": round(count / wall_s, 1),
        "cores": {name: round(taken / wall_s, 4) for name, taken in taken_s.items() if name != OURS},
        "resident_mb": peaks.mb(),
    }


def _checked(settings: Settings) -> float:
    """Records that were compared so far; 0 before its metrics answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.audit_metrics_port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_CHECKED))
