"""Offsets without a record: transaction markers, aborted records, compaction. The index passes them and misses nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from api.client import Client
from contract.clients import open_admin
from contract.settings import Settings
from producers.topics import ensure_topics
from stack import groups
from tests.conftest import fresh_road
from tests.embedding import picture, producer
from tests.kafka_topic import read_topic
from tests.verified import verified_ids
from tests.waiting import wait_for


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Iterator[Settings]:
    """A road whose programs the test starts, and which are stopped at its end."""
    keyspace = f"{stack.cassandra_keyspace}_holes"
    settings = fresh_road(stack, tmp_path, kafka_partitions=2, var_dir=tmp_path / "var", cassandra_keyspace=keyspace)
    ensure_topics(settings)
    yield settings
    groups.down(settings, "programs")


def transact(client: KafkaProducer, settings: Settings, ids: list[str], *, commit: bool) -> None:
    """Publish one image for each id to partition 0 in a transaction of its own; the marker follows them in the log."""
    client.begin_transaction()
    for image_id in ids:
        client.send(settings.kafka_topic, key=image_id.encode(), value=picture(hash_of(image_id)), partition=0).get(30)
    client.commit_transaction() if commit else client.abort_transaction()


def hash_of(image_id: str) -> int:
    return int.from_bytes(image_id.encode(), "big") % 2**32


def indexed(settings: Settings, offsets: dict[str, int]) -> set[str]:
    """Ids in the index once it covers these offsets; the feed must agree."""
    client = Client(settings.api_address)
    wait_for(lambda: offsets.items() <= client.index()["coverage"]["offsets"].items() or None)
    return verified_ids(settings)


@pytest.mark.timeout(180)
def test_markers_of_transactions_are_passed_and_aborted_images_are_never_found(settings: Settings) -> None:
    client = producer(settings, transactional_id=f"test-{settings.kafka_topic}")
    client.init_transactions()
    transact(client, settings, ["a", "b"], commit=True)  # offsets 0 and 1, marker 2
    transact(client, settings, ["never/1"], commit=False)  # 3, marker 4
    groups.up(settings, "programs", tied=True)
    assert indexed(settings, {"0": 2}) == {"a", "b"}
    transact(client, settings, ["c"], commit=True)  # 5, and its marker 6 is the last in the log
    assert indexed(settings, {"0": 6}) == {"a", "b", "c"}
    transact(client, settings, ["never/2"], commit=False)  # 7, marker 8
    groups.down(settings, "programs")
    groups.up(settings, "programs", tied=True)
    assert indexed(settings, {"0": 6}) == {"a", "b", "c"}
    transact(client, settings, ["d"], commit=True)  # 9
    client.close()
    assert indexed(settings, {"0": 10}) == {"a", "b", "c", "d"}


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
    assert indexed(settings, {"0": end}) == {f"image/{n}" for n in range(5)}
    client.close()
    admin.close()
