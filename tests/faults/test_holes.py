"""Offsets without a record: transaction markers, aborted records, compaction. The index passes them and misses nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from kafka import TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType

from contract.settings import Settings
from lookalike_client import Client
from stack import groups
from tests.conftest import fresh_settings
from tests.embedding import Sent, picture, producer, publish
from tests.kafka_topic import end_offsets, read_topic
from tests.verified import verified_ids
from tests.waiting import wait_for
from topics.clients import open_admin
from topics.topic import ensure_topics


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A pipeline whose programs the test starts, and which are stopped at its end."""
    keyspace = f"{stack.cassandra_keyspace}_holes"
    settings = fresh_settings(
        stack, tmp_path, kafka_partitions=2, var_dir=tmp_path / "var", cassandra_keyspace=keyspace
    )
    ensure_topics(settings)
    yield settings
    groups.down(settings, "programs")


def transactional(settings: Settings, name: str, timeout_ms: int = 60_000) -> Producer:
    client = Producer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "transactional.id": f"{name}-{settings.kafka_topic}",
            "transaction.timeout.ms": timeout_ms,
        }
    )
    client.init_transactions(30)
    return client


def begin(client: Producer, settings: Settings, *ids: str, partition: int = 0) -> None:
    """Publish one image for each id in a transaction that stays open."""
    client.begin_transaction()
    for image_id in ids:
        client.produce(settings.kafka_topic, key=image_id, value=picture(hash_of(image_id)), partition=partition)
    assert client.flush(30) == 0


def hash_of(image_id: str) -> int:
    return int.from_bytes(image_id.encode(), "big") % 2**32


def index_when(settings: Settings, offsets: dict[str, int]) -> set[str]:
    """Ids in the index once it covers just these offsets; the feed must agree."""
    client = Client(settings.api_address)
    wait_for(lambda: offsets.items() <= client.index()["coverage"]["offsets"].items() or None)
    return verified_ids(settings)


def end_of(settings: Settings) -> dict[str, int]:
    """Where Kafka says that its partitions end."""
    return {str(partition): offset for partition, offset in end_offsets(settings).offsets.items()}


@pytest.mark.timeout(240)
def test_coverage_comes_to_the_end_of_a_log_that_ends_with_markers(settings: Settings) -> None:
    client = transactional(settings, "first")
    begin(client, settings, "a", "b")  # offsets 0 and 1
    client.commit_transaction()  # 2
    begin(client, settings, "never/1")  # 3
    client.abort_transaction()  # 4
    groups.up(settings, "programs", tied=True)
    assert index_when(settings, {"0": 5}) == {"a", "b"}
    begin(client, settings, "c")  # 5
    client.commit_transaction()  # 6, the last in the log
    assert index_when(settings, {"0": 7}) == {"a", "b", "c"}
    api = Client(settings.api_address)
    assert wait_for(lambda: api.index()["lag"] == 0 or None)
    ends = ",".join(f"{partition}:{offset}" for partition, offset in end_of(settings).items())
    answer = api.search(picture(1), k=5, min_offsets=ends, wait_ms=1000)
    assert {match.id for match in answer.matches} == {"a", "b", "c"}
    begin(client, settings, "never/2")  # 7
    client.abort_transaction()  # 8, the last in the log
    assert index_when(settings, {"0": 9}) == {"a", "b", "c"}


@pytest.mark.thorough
@pytest.mark.timeout(240)
def test_coverage_waits_for_a_transaction_that_nobody_ends(settings: Settings) -> None:
    """Its records may still be committed: nothing at or behind the first of them is claimed before Kafka aborts it."""
    groups.up(settings, "programs", tied=True)
    dying, living = transactional(settings, "dying", timeout_ms=12_000), transactional(settings, "living")
    begin(living, settings, "a")  # offset 0
    living.commit_transaction()  # 1
    assert index_when(settings, {"0": 2}) == {"a"}
    begin(dying, settings, "never")  # 2
    began = time.monotonic()
    begin(living, settings, "b")  # 3
    living.commit_transaction()  # 4
    client = Client(settings.api_address)
    while time.monotonic() - began < 6:
        assert client.index()["coverage"]["offsets"]["0"] == 2
        time.sleep(0.1)  # a sampling interval: what must not happen has no event to wait for
    del dying
    assert index_when(settings, {"0": 6}) == {"a", "b"}  # Kafka's own marker stands at 5


@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_partition_whose_records_all_expired_is_covered_to_its_end(settings: Settings) -> None:
    publish(settings, [Sent(b"gone", picture(n)) for n in range(7)])
    admin = open_admin(settings)
    admin.delete_records({TopicPartition(settings.kafka_topic, 0): 7})
    admin.close()
    groups.up(settings, "programs", tied=True)
    assert index_when(settings, {"0": 7}) == set()
    assert Client(settings.api_address).index()["expired"] == 7


@pytest.mark.thorough
@pytest.mark.timeout(180)
def test_partitions_that_are_added_while_all_runs_are_read(settings: Settings) -> None:
    groups.up(settings, "programs", tied=True)
    publish(settings, [Sent(b"old", picture(1))])
    assert index_when(settings, {"0": 1}) == {"old"}
    admin = open_admin(settings)
    admin.create_partitions({settings.kafka_topic: 4})
    admin.close()
    client = producer(settings)
    client.send(settings.kafka_topic, key=b"new", value=picture(2), partition=3).get(30)
    client.close()
    began = time.monotonic()
    assert index_when(settings, {"3": 1}) == {"old", "new"}
    print(f"a new partition was searchable after {time.monotonic() - began:.1f} s")


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_holes_that_compaction_leaves_are_passed(settings: Settings) -> None:
    admin = open_admin(settings)
    compacted = {
        "cleanup.policy": "compact",
        "segment.ms": "500",
        "min.cleanable.dirty.ratio": "0.01",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "1000",
    }
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.kafka_topic, compacted)])
    client = producer(settings)

    def rewrite(times: int) -> int:
        """Publish five ids again and again; the end of the log."""
        for n in range(times * 5):
            key = f"image/{n % 5}".encode()
            sent = client.send(settings.kafka_topic, key=key, value=picture(n), partition=0).get(30)
        return int(sent.offset) + 1

    rewrite(4)

    def has_holes() -> bool | None:
        # A segment is closed, and then compacted, only when something comes behind it.
        end = rewrite(1)
        return len(read_topic(settings)) < end - 5 or None

    wait_for(has_holes, timeout_s=120)
    groups.up(settings, "programs", tied=True)
    end = rewrite(1)
    assert index_when(settings, {"0": end}) == {f"image/{n}" for n in range(5)}
    client.close()
    admin.close()
