"""What the embedder decides and writes without any server."""

import hashlib
import json
import threading

import pytest

from contract.errors import DependencyError
from contract.messages import IMAGE_SIZE_BYTES_MAX, Rejection
from contract.record_key import RecordKey
from model.pictures.decoder import Decoded
from runtime import failpoints
from runtime.retrying import StoppedError, retrying
from topics.rejected import rejected_message
from workers.embedder.outcomes import feed_row, judge
from workers.embedder.records import Record

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
WHY = Rejection(reason="too-large", detail="It is.", topic="images", key=RecordKey("images:x", 3, 7))


def record(
    key: bytes | None = b"a", value: bytes | None = PNG, headers: tuple[tuple[str, bytes | None], ...] = ()
) -> Record:
    return Record(0, 7, 7, 1_700_000_000_000, key, value, headers)


@pytest.mark.parametrize(
    ("given", "outcome", "reason", "image_id"),
    [
        (record(), "put", "", "a"),
        (record(key=None), "put", "", hashlib.sha256(PNG).hexdigest()),
        (record(value=None), "delete", "", "a"),
        (record(key=None, value=None), "reject", "missing-key", ""),
        (record(key=b""), "reject", "bad-key", ""),
        (record(value=b""), "reject", "empty", "a"),
        (record(value=b"%PDF-1.7"), "reject", "unsupported-type", "a"),
        (record(headers=(("metadata", None),)), "reject", "bad-metadata", "a"),
        (record(value=None, headers=(("metadata", b"{"),)), "reject", "bad-metadata", "a"),
        (record(headers=(("other", None),)), "put", "", "a"),
    ],
)
def test_a_record_is_judged_by_its_own_bytes(given: Record, outcome: str, reason: str, image_id: str) -> None:
    found = judge(given)
    assert (found.outcome, found.reason, found.image_id) == (outcome, reason, image_id)


def test_the_feed_row_of_a_put_carries_its_metadata_and_no_other_does() -> None:
    told = (("metadata", b'{"b": 1, "a": "x"}'),)
    put = judge(record(headers=told))
    assert feed_row("images:x", put).metadata == '{"a":"x","b":1}'
    refused = put.with_decoded(Decoded(reason="corrupt", detail="It is."))
    assert feed_row("images:x", refused).metadata == ""
    assert feed_row("images:x", judge(record(value=None, headers=told))).metadata == ""


def test_a_rejected_message_keeps_what_was_sent_and_says_why() -> None:
    message = rejected_message(record(value=b"x", headers=(("a", b"1"), ("a", None))), WHY)
    assert (message.key, message.value) == (b"a", b"x")
    assert message.headers[:2] == [("a", b"1"), ("a", b"")]
    assert Rejection.from_headers(message.headers) == WHY


def test_what_is_too_large_for_a_message_is_cut_and_named() -> None:
    value = bytes(IMAGE_SIZE_BYTES_MAX + 1)
    headers = (("h", bytes(3 * 1024 * 1024)),)
    message = rejected_message(record(key=b"k" * 100_000, value=value, headers=headers), WHY)
    assert message.key is not None and message.value is not None
    assert json.loads(message.value) == {"size_bytes": len(value), "sha256": hashlib.sha256(value).hexdigest()}
    assert len(message.key) == 64 * 1024
    assert dict(message.headers)["lookalike-cut"] == b"key,value,headers"
    assert "h" not in dict(message.headers)


def test_a_failing_dependency_is_asked_again_until_it_answers() -> None:
    answers = iter([DependencyError("cassandra", "away"), DependencyError("cassandra", "away"), None])

    def ask() -> str:
        failure = next(answers)
        if failure:
            raise failure
        return "answer"

    assert retrying(ask, "cassandra", threading.Event()) == "answer"


def test_waiting_ends_when_the_process_is_told_to_stop() -> None:
    stop = threading.Event()

    def ask() -> None:
        stop.set()
        raise DependencyError("kafka", "away")

    with pytest.raises(StoppedError):
        retrying(ask, "kafka", stop)


def test_a_failpoint_kills_at_its_count_and_only_when_armed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setenv(failpoints.VARIABLE, "here:2,there")
    failpoints._armed.cache_clear()
    failpoints.failpoint("here")
    failpoints.failpoint("elsewhere")
    assert not killed
    failpoints.failpoint("here")
    failpoints.failpoint("here")
    failpoints.failpoint("there")
    assert len(killed) == 2
    failpoints._armed.cache_clear()
