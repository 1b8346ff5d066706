"""Where an embedder begins, and what it refuses: the feed decides, not the committed offset."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cassandra.cluster import Cluster
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from contract.origin import Origin
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from model.encoder import load_encoder
from stack.jars import ROOT
from stack.programs import environment
from tests.embedding import (
    Embedder,
    Sent,
    eventually,
    feed_of,
    make_topics,
    picture,
    producer,
    publish,
    running_embedder,
    wait_for_feed,
)
from tests.kafka_topic import topic_log


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka_partitions": 2})


@pytest.fixture
def admin(settings: Settings) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    yield client
    client.close()


def test_a_topic_that_is_missing_or_keeps_producers_times_is_refused(
    settings: Settings, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    embedder = Embedder(settings, tmp_path)
    assert embedder.wait() == 1
    assert "python -m producers topics" in embedder.text()
    admin.create_topics([NewTopic(settings.kafka_topic, 1, 1)])
    embedder = Embedder(settings, tmp_path)
    assert embedder.wait() == 1
    assert "expected LogAppendTime" in embedder.text()


def test_a_restart_goes_on_and_a_wiped_store_is_filled_again(settings: Settings, store: Store, tmp_path: Path) -> None:
    log = make_topics(settings)
    first = publish(settings, [Sent(f"a/{i}".encode(), picture(i), (), i % 2) for i in range(40)])
    with running_embedder(settings, tmp_path) as embedder:
        rows = wait_for_feed(store, settings, log, first)
        assert embedder.stop() == 0
    assert len(rows) == 40

    second = publish(settings, [Sent(f"b/{i}".encode(), picture(i), (), i % 2) for i in range(10)])
    with running_embedder(settings, tmp_path) as embedder:
        more = wait_for_feed(store, settings, log, second)
        assert '"starts": {"0": 20, "1": 20}' in embedder.text()
        embedder.stop()
    assert {place: more[place] for place in rows} == rows, "rows of the first run were not written again"

    truncate(settings)
    with running_embedder(settings, tmp_path) as embedder:
        refilled = wait_for_feed(store, settings, log, second)
        assert '"starts": {"0": 0, "1": 0}' in embedder.text()
        assert store.feed.logs(settings.kafka_topic) == [log]
    assert timeless(refilled) == timeless(more)


def test_a_topic_that_is_created_again_stops_it_and_a_restart_goes_on_with_both(
    settings: Settings, store: Store, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    old_log = make_topics(settings)
    old = publish(settings, [Sent(b"old", picture(1))])
    with running_embedder(settings, tmp_path) as embedder:
        wait_for_feed(store, settings, old_log, old)
        admin.delete_topics([settings.kafka_topic])
        eventually("the topic is gone", lambda: settings.kafka_topic not in admin.list_topics())
        new_log = make_topics(settings)
        new = publish(settings, [Sent(b"new", picture(2))])
        assert embedder.wait() == 1
        assert "deleted and created again" in embedder.text()
    assert not feed_of(store, settings, new_log, 0)
    with running_embedder(settings, tmp_path):
        rows = wait_for_feed(store, settings, new_log, new)
    assert [row.image_id for row in rows.values()] == ["new"]
    assert store.feed.logs(settings.kafka_topic) == [old_log, new_log]
    assert [row.image_id for row in feed_of(store, settings, old_log, 0)] == ["old"]
    assert topic_log(settings) == new_log


def test_a_topic_that_begins_to_keep_producers_times_stops_it_and_says_why(
    settings: Settings, store: Store, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    log = make_topics(settings)
    with running_embedder(settings, tmp_path) as embedder:
        wait_for_feed(store, settings, log, publish(settings, [Sent(b"good", picture(1))]))
        topic = ConfigResource(ConfigResourceType.TOPIC, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
        admin.alter_configs([topic])
        eventually("the broker takes producers' times", lambda: has_producers_time(settings))
        assert embedder.wait() == 1
        assert "carries its producer's time" in embedder.text()
    assert [row.image_id for row in feed_of(store, settings, log, 0)] == ["good"]


def has_producers_time(settings: Settings) -> bool:
    """Publish an image to the first partition, and say whether Kafka kept the time that came with it."""
    client = producer(settings)
    future = client.send(settings.kafka_topic, key=b"odd", value=picture(2), partition=0, timestamp_ms=1)
    kept = future.get(30).timestamp == 1
    client.close()
    return bool(kept)


def test_records_that_kafka_expired_are_named_in_the_feed(
    settings: Settings, store: Store, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    log = make_topics(settings)
    sent = publish(settings, [Sent(f"{i}".encode(), picture(i)) for i in range(10)])
    admin.delete_records({TopicPartition(settings.kafka_topic, 0): 4})
    with running_embedder(settings, tmp_path) as embedder:
        rows = wait_for_feed(store, settings, log, sent)
        embedder.stop()
        assert "expired before they were embedded" in embedder.text()
    names_what_expired(rows, 0, 4)
    assert [offset for _, offset in sorted(rows) if offset >= 4] == list(range(4, 10))

    # Behind a feed that has rows already the chain has no break either.
    later = publish(settings, [Sent(b"later", picture(i)) for i in range(5)])
    admin.delete_records({TopicPartition(settings.kafka_topic, 0): 12})
    with running_embedder(settings, tmp_path):
        rows = wait_for_feed(store, settings, log, later)
    names_what_expired(rows, 10, 12)


def names_what_expired(rows: dict[tuple[int, int], FeedRow], start: int, begins: int) -> None:
    """One row alone says that [start, begins) expired: that of the first record, or a gap's in front of it, where the
    consumer's position was told before the record came."""
    (row,) = (row for row in rows.values() if row.reason and row.key.offset >= start)
    assert (row.after, row.reason) == (start, "expired-before")
    assert (row.key.offset, row.outcome) in {(begins, "put"), (begins - 1, "gap")}


def test_what_kafka_holds_no_longer_is_embedded_again_from_the_store(
    settings: Settings, store: Store, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    log = make_topics(settings)
    sent = publish(
        settings,
        [Sent(f"{i}".encode(), picture(i, size=200 if i == 4 else 28), origin(i), i % 2) for i in range(12)]
        + [Sent(b"3", None, origin(12)), Sent(b"bad", b"no image", origin(13), 1)],
    )
    with running_embedder(settings, tmp_path):
        before = wait_for_feed(store, settings, log, sent)
    assert {row.origin.request_id for row in before.values()} == {f"request-{i}" for i in range(14)}
    lose_feed_to_another_encoder(settings)
    admin.delete_records({TopicPartition(settings.kafka_topic, partition): 6 for partition in (0, 1)})
    assert subprocess_embedder(settings, "--from-store") == 0
    restored = {
        (row.key.partition, row.key.offset): row
        for partition in (0, 1)
        for row in feed_of(store, settings, log, partition)
    }
    assert timeless(restored) == {place: row for place, row in timeless(before).items() if place[1] < 6}
    with running_embedder(settings, tmp_path):
        after = wait_for_feed(store, settings, log, sent)
    assert timeless(after) == timeless(before)

    # The topic is gone, and with it every record; deletes and rejects are known from the other encoder's feed.
    admin.delete_topics([settings.kafka_topic])
    eventually("the topic is gone", lambda: settings.kafka_topic not in admin.list_topics())
    truncate(settings, "feed")
    write_feed_of_another_encoder(store, list(before.values()))
    assert subprocess_embedder(settings, "--from-store") == 0
    rows = {
        (row.key.partition, row.key.offset): row
        for partition in (0, 1)
        for row in feed_of(store, settings, log, partition)
    }
    assert timeless(rows) == timeless(before)


def origin(number: int) -> tuple[tuple[str, bytes], ...]:
    """Headers that say where a record comes from."""
    return tuple(Origin(f"request-{number}", f"00-{number + 1:032x}-{number + 1:016x}-01").headers())


ANOTHER = "another-encoder"


def lose_feed_to_another_encoder(settings: Settings) -> None:
    """Leave the store as it is when the encoder was changed: the feed belongs to another one."""
    store = Store.connect(settings)
    try:
        encoder = load_encoder(settings.encoder).fingerprint
        (log,) = store.feed.logs(settings.kafka_topic)
        rows = [
            row
            for partition in (0, 1)
            for row in store.feed.read(RecordKey(log, partition, 0), 1000, fingerprint=encoder)
        ]
        truncate(settings, "feed")
        write_feed_of_another_encoder(store, rows)
    finally:
        store.close()


def write_feed_of_another_encoder(store: Store, rows: list[FeedRow]) -> None:
    """Write rows as another encoder's, whose embeddings are others."""
    other = bytes(4 * 128)
    store.feed.write([dataclasses.replace(row, embedding=row.embedding and other) for row in rows], fingerprint=ANOTHER)


def subprocess_embedder(settings: Settings, *arguments: str) -> int:
    """Run an embedder command to its end."""
    command = [sys.executable, "-m", "workers", "embedder", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment(settings)}, timeout=90).returncode


def truncate(settings: Settings, *tables: str) -> None:
    """Wipe these tables, or all."""
    cluster = Cluster([settings.cassandra_hosts], port=settings.cassandra_port)
    try:
        session = cluster.connect(settings.cassandra_keyspace)
        for table in tables or ("feed", "records", "originals", "logs"):
            session.execute(f"TRUNCATE {table}", timeout=60)
    finally:
        cluster.shutdown()


def timeless(rows: dict[tuple[int, int], FeedRow]) -> dict[tuple[int, int], FeedRow]:
    """The rows without when they were written."""
    return {place: dataclasses.replace(row, embedded_at_ms=0) for place, row in rows.items()}
