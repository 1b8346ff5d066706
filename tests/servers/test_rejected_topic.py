"""The rejected topic on a real Kafka: read from its beginning, and its newest messages followed."""

from contextlib import closing

import pytest
from kafka import KafkaConsumer

from contract.errors import ConfigurationError, DependencyError
from contract.messages import Rejection
from contract.record_key import RecordKey
from contract.settings import Settings
from topics import rejected
from topics.batch_publisher import BatchPublisher, Message
from topics.rejected import NEWEST_MAX, NewestRejected, read_rejected, rejected_message
from topics.topic import ensure_topics


def refused(offset: int) -> Message:
    why = Rejection(reason="corrupt", detail="", topic="images", key=RecordKey("images:x", 0, offset))
    return rejected_message(Message(key=b"%d" % offset, value=b"x" * offset, headers=[("h", b"1")]), why)


def publish(settings: Settings, messages: list[Message]) -> None:
    with closing(BatchPublisher(settings, settings.rejected_topic)) as publisher:
        for message in messages:
            publisher.publish([message])


def test_every_message_is_read_once_from_the_beginning(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="producers topics"):
        list(read_rejected(settings))
    ensure_topics(settings)
    assert list(read_rejected(settings)) == []
    stranger = Message(key=b"a", value=b"no embedder wrote this", headers=[])
    publish(settings, [refused(1), stranger, refused(2), refused(1), refused(3)])
    found = sorted(read_rejected(settings), key=lambda message: message.rejection.key.offset)
    assert [(message.rejection.key.offset, message.value, message.headers) for message in found] == [
        (n, b"x" * n, [("h", b"1")]) for n in (1, 2, 3)
    ]


def test_newest_messages_are_followed_without_their_values(settings: Settings) -> None:
    with closing(NewestRejected(settings)) as newest:
        assert newest.read() == ([], False)
        ensure_topics(settings)
        publish(settings, [refused(n) for n in range(NEWEST_MAX + 5)])
        found, is_complete = newest.read()
        assert is_complete
        assert len(found) == NEWEST_MAX
        assert found[0].rejection.key.offset == found[0].size_bytes == NEWEST_MAX + 4
        assert [message.time_ms for message in found] == sorted((m.time_ms for m in found), reverse=True)
        assert all(message.value is None for message in found)
        publish(settings, [refused(1000), refused(1000)])
        found, _ = newest.read()
        assert [message.rejection.key.offset for message in found[:2]] == [1000, NEWEST_MAX + 4]


def test_messages_that_do_not_come_are_not_waited_for_for_ever_and_are_said_to_lack(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where Kafka stands still after it has said where they end."""
    ensure_topics(settings)
    publish(settings, [refused(1)])
    monkeypatch.setattr(KafkaConsumer, "end_offsets", lambda _, places: dict.fromkeys(places, 40))
    monkeypatch.setattr(rejected, "_NEWEST_S_MAX", 0.5)
    monkeypatch.setattr(rejected, "STILL_S_MAX", 0.5)
    with closing(NewestRejected(settings)) as newest:
        found, is_complete = newest.read()
        assert ([message.rejection.key.offset for message in found], is_complete) == ([1], False)
    with pytest.raises(DependencyError, match=r"of 40: nothing came for 0\.5 s"):
        list(read_rejected(settings))
