"""A worker is ready while all that it needs is, and a metric names what is not."""

import threading

import pytest
from prometheus_client import REGISTRY

from contract.errors import DependencyError
from runtime import retrying as waiting
from runtime.readiness import Readiness


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def test_a_success_of_one_dependency_does_not_hide_the_failure_of_another() -> None:
    readiness = Readiness(["kafka", "cassandra", "partitions"])
    assert gauge("lookalike_ready") == 0
    for part in ("kafka", "cassandra"):
        readiness.note(part, is_good=True)
    assert gauge("lookalike_ready") == 0 and readiness.missing() == ["partitions"]
    readiness.note("partitions", is_good=True)
    assert gauge("lookalike_ready") == 1
    readiness.note("cassandra", is_good=False)
    readiness.note("kafka", is_good=True)
    assert gauge("lookalike_ready") == 0
    assert gauge("lookalike_degraded", part="cassandra") == 1
    assert gauge("lookalike_degraded", part="kafka") == 0


def test_a_call_that_works_again_makes_good_what_it_had_failed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    readiness = Readiness(["cassandra"])
    monkeypatch.setattr(waiting, "READINESS", readiness)
    monkeypatch.setattr(waiting, "RETRY_S_MIN", 0.001)
    failures = [DependencyError("kafka", "away"), DependencyError("cassandra", "away")]

    def call() -> int:
        if failures:
            raise failures.pop()
        return 7

    assert waiting.retrying(call, "cassandra", threading.Event()) == 7
    assert readiness.missing() == []
