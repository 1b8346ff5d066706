"""Messages of the rejected topic, and `python -m workers rejected` beside its answers."""

import logging
from types import SimpleNamespace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from contract import telemetry
from contract.messages import Rejection
from contract.record_key import RecordKey
from topics.batch_publisher import Message
from topics.rejected import parse_rejected, rejected_message
from workers.__main__ import main

WHY = Rejection(reason="corrupt", detail="It is.", topic="images", key=RecordKey("images:x", 3, 7))


@given(
    key=st.none() | st.binary(max_size=20),
    value=st.none() | st.binary(max_size=20),
    headers=st.lists(st.tuples(st.sampled_from(["metadata", "origin"]), st.binary(max_size=9)), max_size=3),
)
def test_rejected_message_is_read_as_it_was_written(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    written = rejected_message(Message(key=key, value=value, headers=headers), WHY)
    read = parse_rejected(SimpleNamespace(**vars(written), timestamp=5))
    assert read is not None
    assert (read.key, read.value, read.headers) == (key, value, headers)
    assert (read.rejection, read.time_ms, read.cut) == (WHY, 5, "")
    assert read.size_bytes == (None if value is None else len(value))


def test_what_was_cut_is_told_and_what_no_embedder_wrote_is_passed_over() -> None:
    written = rejected_message(Message(key=b"\xff" * 70_000, value=b"x", headers=()), WHY)
    read = parse_rejected(SimpleNamespace(**vars(written), timestamp=5))
    assert read is not None
    assert (read.cut, read.key_text) == ("key", ("\\xff" * 65_536)[:300])
    assert parse_rejected(SimpleNamespace(key=b"a", value=b"b", headers=[("lookalike-reason", b"x")])) is None


def test_only_results_go_to_stdout_also_while_kafka_is_away(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKALIKE_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setattr("topics.rejected.CONNECT_TIMEOUT_S", 0.5)
    monkeypatch.setattr(logging.getLogger("kafka"), "propagate", True)  # in tests it is silent
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
