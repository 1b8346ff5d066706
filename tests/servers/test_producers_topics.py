"""The topics on a real Kafka."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType

from contract.errors import ConfigurationError
from contract.settings import Settings
from tests.conftest import fresh_settings
from tests.kafka_topic import topic_log
from topics.clients import open_admin
from topics.topic import Topic, ensure_topics


@pytest.fixture
def admin(stack: Settings) -> Iterator[KafkaAdminClient]:
    opened = open_admin(stack)
    yield opened
    opened.close()


def configs(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return {name: config["value"] for name, config in found["topic"][topic].items()}


def test_topics_are_created_as_promised_and_a_second_run_changes_nothing(
    settings: Settings, admin: KafkaAdminClient
) -> None:
    assert "Created" in ensure_topics(settings)[0]
    log = topic_log(settings)
    assert [sentence.partition(" exists with ")[2] for sentence in ensure_topics(settings)] == [
        "4 partitions.",
        "4 partitions.",
        "1 partition.",
    ]
    assert topic_log(settings) == log
    for topic in (settings.kafka_topic, settings.rejected_topic):
        found = configs(admin, topic)
        assert found["message.timestamp.type"] == "LogAppendTime"
        assert found["max.message.bytes"] == str(36 * 1024 * 1024)
        assert found["retention.ms"] == "-1"
        assert found["cleanup.policy"] == "delete"


def test_settings_that_endanger_no_record_are_repaired(settings: Settings, admin: KafkaAdminClient) -> None:
    wrong = {"message.timestamp.type": "CreateTime", "max.message.bytes": "1000000", "retention.ms": "3600000"}
    admin.create_topics({settings.kafka_topic: {"num_partitions": 2, "configs": wrong}}, wait_for_metadata=True)
    sentence = ensure_topics(settings)[0]
    assert "2 partitions" in sentence
    assert "max.message.bytes=37748736 (was 1000000)" in sentence
    found = configs(admin, settings.kafka_topic)
    assert (found["message.timestamp.type"], found["retention.ms"]) == ("LogAppendTime", "-1")


def test_shorter_retention_is_not_applied_to_an_existing_topic(
    stack: Settings, settings: Settings, tmp_path: Path, admin: KafkaAdminClient
) -> None:
    ensure_topics(settings)
    shorter = fresh_settings(stack, tmp_path, kafka_topic=settings.kafka_topic, kafka_retention_hours=1)
    assert "would delete records" in ensure_topics(shorter)[0]
    assert configs(admin, settings.kafka_topic)["retention.ms"] == "-1"


def test_topic_whose_records_carry_their_producers_time_is_refused(settings: Settings, admin: KafkaAdminClient) -> None:
    admin.create_topics({settings.kafka_topic: {"num_partitions": 1}}, wait_for_metadata=True)
    producer = KafkaProducer(bootstrap_servers=settings.kafka_bootstrap)
    producer.send(settings.kafka_topic, b"x").get(10)
    producer.close()
    with pytest.raises(ConfigurationError, match="LOOKALIKE_KAFKA_TOPIC"):
        ensure_topics(settings)


def test_log_is_another_when_the_topic_was_created_anew(settings: Settings, admin: KafkaAdminClient) -> None:
    with closing(Topic(settings)) as topic, pytest.raises(ConfigurationError, match="producers topics"):
        topic.check()
    ensure_topics(settings)
    before = topic_log(settings)
    admin.delete_topics([settings.kafka_topic])
    admin.create_topics({settings.kafka_topic: {}}, wait_for_metadata=True)
    assert topic_log(settings) != before
    assert topic_log(settings).startswith(f"{settings.kafka_topic}:")
