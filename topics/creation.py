"""The two topics: created once, checked every time, and named by their log."""

from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError, TopicAlreadyExistsError

from contract.errors import ConfigurationError, DependencyError
from contract.messages import MESSAGE_SIZE_BYTES_MAX, log_of
from contract.settings import PREFIX, Settings
from topics.clients import open_admin

_UNKNOWN_TOPIC = 3


def ensure_topics(settings: Settings) -> list[str]:
    """Create the topic of images and the one of rejected messages, or repair their settings where no record is at stake.

    Returns:
        One sentence for each topic.

    Raises:
        ConfigurationError: a topic cannot serve as it is; the message says what to do.
        DependencyError: Kafka did not do it.
    """
    admin = open_admin(settings)
    try:
        return [_ensure_topic(admin, settings, name) for name in (settings.kafka_topic, settings.rejected_topic)]
    except KafkaError as error:
        raise DependencyError("kafka", f"The topics could not be created or checked: {error}") from error
    finally:
        admin.close()


def topic_log(settings: Settings) -> str:
    """Log of the topic of images as it is now: its name and Kafka's id of it.

    Raises:
        DependencyError: Kafka did not answer, or the topic does not exist yet.
    """
    admin = open_admin(settings)
    try:
        described = _describe(admin, settings.kafka_topic)
    except KafkaError as error:
        raise DependencyError("kafka", f"Topic {settings.kafka_topic} could not be read: {error}") from error
    finally:
        admin.close()
    if described is None:
        raise DependencyError(
            "kafka", f"Topic {settings.kafka_topic} does not exist. Create it: `python -m producers topics`."
        )
    return log_of(settings.kafka_topic, described["topic_id"])


def _wanted_configs(settings: Settings) -> dict[str, str]:
    hours = settings.kafka_retention_hours
    return {
        # The broker's clock orders images; a producer's could be years off.
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_SIZE_BYTES_MAX),
        # Compaction would refuse images without a key.
        "cleanup.policy": "delete",
        # For ever unless told otherwise: while the topic holds them, everything else can be rebuilt with another encoder.
        "retention.ms": str(-1 if hours < 0 else hours * 3_600_000),
    }


def _ensure_topic(admin: KafkaAdminClient, settings: Settings, topic: str) -> str:
    wanted = _wanted_configs(settings)
    if _describe(admin, topic) is None:
        try:
            # A replication factor of -1 is the broker's own default.
            admin.create_topics(
                {
                    topic: {
                        "num_partitions": settings.kafka_partitions,
                        "replication_factor": -1,
                        "configs": wanted,
                    }
                },
                wait_for_metadata=True,
            )
        except TopicAlreadyExistsError:  # Another process was a moment faster.
            admin.wait_for_topics([topic])
        else:
            return f"Created {topic} with {settings.kafka_partitions} partitions."
    return _repair(admin, topic, wanted, settings.kafka_partitions)


def _repair(admin: KafkaAdminClient, topic: str, wanted: dict[str, str], partitions_wanted: int) -> str:
    """Bring an existing topic's settings to what is wanted, but lose no record and reinterpret none."""
    described = _describe(admin, topic)
    assert described is not None
    partitions = sorted(found["partition_index"] for found in described["partitions"])
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, list(wanted))
    configs = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    found = {name: configs[name]["value"] for name in wanted}
    notes = []
    if len(partitions) != partitions_wanted:
        notes.append(f"the setting {PREFIX}KAFKA_PARTITIONS={partitions_wanted} applies to new topics only")
    changes = {name: value for name, value in wanted.items() if found[name] != value}
    if "message.timestamp.type" in changes and (records := _count_records(admin, topic, partitions)):
        raise ConfigurationError(
            f"Topic {topic} has message.timestamp.type={found['message.timestamp.type']}, expected LogAppendTime, and holds "
            f"{records} records whose times came from their producers and cannot order images. Choose another topic with "
            f"{PREFIX}KAFKA_TOPIC, or delete this one, run `python -m producers topics` and publish again."
        )
    if "retention.ms" in changes and _is_shorter(wanted["retention.ms"], found["retention.ms"]):
        # Shortening deletes records at once, and could come from a forgotten setting in one terminal.
        del changes["retention.ms"]
        notes.append(
            f"retention.ms stays at {found['retention.ms']}, since {wanted['retention.ms']} would delete records; to do so: "
            f"`kafka-python admin -b BROKER:PORT configs alter -r topic -n {topic} -c retention.ms={wanted['retention.ms']}`"
        )
    if changes:
        _alter(admin, topic, changes)
        notes.append("set " + ", ".join(f"{name}={value} (was {found[name]})" for name, value in changes.items()))
    return f"{topic} exists with {len(partitions)} partitions" + "".join(f"; {note}" for note in notes) + "."


def _alter(admin: KafkaAdminClient, topic: str, changes: dict[str, str]) -> None:
    answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(changes))])["topic"][topic]
    if answer != "OK":
        raise DependencyError("kafka", f"Settings {changes} of topic {topic} were refused: {answer}.")


def _describe(admin: KafkaAdminClient, topic: str) -> dict[str, Any] | None:
    """Kafka's description of a topic, None when there is none."""
    described: dict[str, Any] = admin.describe_topics([topic])[0]
    if described["error_code"] == _UNKNOWN_TOPIC:
        return None
    if described["error_code"]:
        raise DependencyError("kafka", f"Topic {topic} cannot be described: error code {described['error_code']}.")
    return described


def _count_records(admin: KafkaAdminClient, topic: str, partitions: list[int]) -> int:
    """Offsets between the first and the last record, summed over the partitions."""
    places = [TopicPartition(topic, partition) for partition in partitions]
    first = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST))
    last = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    return sum(last[place].offset - first[place].offset for place in places)


def _is_shorter(wanted_ms: str, found_ms: str) -> bool:
    return int(wanted_ms) >= 0 and (int(found_ms) < 0 or int(wanted_ms) < int(found_ms))
