"""`python -m workers rejected` beside its answers."""

import logging

import pytest
import structlog

from contract import telemetry
from workers.__main__ import main


def test_only_results_go_to_stdout_also_while_kafka_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setattr("workers.rejected.CONNECT_TIMEOUT_S", 0.5)
    assert main(["rejected", "list", "--json"]) == 1
    logging.getLogger("kafka").warning("the driver says")
    structlog.get_logger().warning("we say")
    told = capsys.readouterr()
    assert told.out == ""
    for said in ("the driver says", "we say", "error: kafka: No broker at 127.0.0.1:9"):
        assert said in told.err
    telemetry.configure_logging()
    structlog.get_logger().warning("a worker says")
    assert "a worker says" in capsys.readouterr().out
