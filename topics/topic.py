"""The topics of images and of rejected messages: created once, checked every time, and described as they are now."""

from collections.abc import Callable
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError

from contract.errors import ConfigurationError, DependencyError, TopicReplacedError
from contract.messages import MESSAGE_SIZE_BYTES_MAX, log_of
from contract.settings import PREFIX, Settings
from topics.clients import open_admin
from topics.offsets import EndOffsets, end_offsets_of, partition_offsets
from topics.topic_admin import TopicAdmin

_UNKNOWN_TOPIC = 3
_TIMESTAMP_TYPE = "message.timestamp.type"
_RETENTION = "retention.ms"
_CONFIRMING = "min.insync.replicas"


def ensure_topics(settings: Settings) -> list[str]:
    """Create the topics of images, of rejected messages and of matches, or repair their settings where no record is at stake.

    Returns:
        One sentence for each topic.

    Raises:
        ConfigurationError: a topic cannot serve as it is; the message says what to do.
        DependencyError: Kafka did not do it.
    """
    admin = open_admin(settings)
    try:
        replicas = settings.kafka_replication
        images = _wanted_configs(settings.kafka_retention_hours, replicas)
        matches = _wanted_configs(settings.matches_retention_hours, replicas)
        return [
            _ensure_topic(admin, settings.kafka_topic, images, settings.kafka_partitions, replicas),
            _ensure_topic(admin, settings.rejected_topic, images, settings.kafka_partitions, replicas),
            # One partition: its offsets number the matches in the order in which they were found.
            _ensure_topic(admin, settings.matches_topic, matches, 1, replicas),
        ]
    except KafkaError as error:
        raise DependencyError("kafka", f"The topics could not be created or checked: {error}") from error
    finally:
        admin.close()


class Topic:
    """Asks Kafka about the topic of images; connects at the first question. Thread-safe: callers take turns.

    Args:
        admin: a connection that is shared; without one it has its own.
    """

    def __init__(self, settings: Settings, admin: TopicAdmin | None = None) -> None:
        self._settings = settings
        self.name = settings.kafka_topic
        self._admin = admin or TopicAdmin(settings)

    def check(self) -> str:
        """Check that the topic can be embedded, and return its log.

        Raises:
            ConfigurationError: it does not exist, or its records carry their producers' times.
            DependencyError: Kafka did not answer.
        """
        described = self._ask(lambda admin: describe_topic(admin, self.name))
        if described is None:
            raise ConfigurationError(
                f"Topic {self.name} does not exist. Create it: `python -m producers topics`, or choose another with "
                f"{PREFIX}KAFKA_TOPIC."
            )
        found = self._ask(lambda admin: _configs(admin, self.name, [_TIMESTAMP_TYPE]))[_TIMESTAMP_TYPE]
        wanted = _wanted_configs(-1)[_TIMESTAMP_TYPE]
        if found != wanted:
            raise ConfigurationError(
                f"Topic {self.name} has {_TIMESTAMP_TYPE}={found}, expected {wanted}: its records carry "
                "their producers' clocks, which cannot order images. See `python -m producers topics`."
            )
        return log_of(self.name, described["topic_id"])

    def verify(self, log: str) -> None:
        """Return when the topic is still the incarnation that `log` names.

        Kafka never gives an id twice. So when the topic has this id before and after records were fetched by its name,
        they belong to it.

        Raises:
            TopicReplacedError: it is another one now.
            DependencyError: Kafka did not answer, or does not know the topic now.
        """
        described = self._ask(lambda admin: describe_topic(admin, self.name))
        if described is None:
            raise DependencyError("kafka", f"Topic {self.name} does not exist now.")
        now = log_of(self.name, described["topic_id"])
        if now != log:
            raise TopicReplacedError(
                f"Topic {self.name} was deleted and created again while it was read: its log was {log}, now it is {now}. "
                "Images of both stay in the gallery; start the embedder again and it goes on with the new one."
            )

    def first_offsets(self) -> dict[int, int]:
        """The first offset that Kafka holds, by partition; none while the topic does not exist.

        Raises:
            DependencyError: Kafka did not answer.
        """

        def ask(admin: KafkaAdminClient) -> dict[int, int]:
            described = describe_topic(admin, self.name)
            return {} if described is None else partition_offsets(admin, [described], OffsetSpec.EARLIEST)[self.name]

        found: dict[int, int] = self._ask(ask)
        return found

    def end_offsets(self) -> EndOffsets | None:
        """Where the partitions end; None while the topic does not exist.

        Raises:
            DependencyError: Kafka did not answer.
        """

        found: EndOffsets | None = self._ask(lambda admin: end_offsets_of(admin, [self.name]).get(self.name))
        return found

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def _ask(self, question: Callable[[KafkaAdminClient], Any]) -> Any:
        return self._admin.ask(f"describing topic {self.name}", question)


def _wanted_configs(hours: int, replicas: int = 0) -> dict[str, str]:
    wanted = {
        # The broker's clock orders images; a producer's could be years off.
        _TIMESTAMP_TYPE: "LogAppendTime",
        "max.message.bytes": str(MESSAGE_SIZE_BYTES_MAX),
        # Compaction would refuse images without a key.
        "cleanup.policy": "delete",
        # For ever unless told otherwise: while the topic holds them, everything else can be rebuilt with another encoder.
        _RETENTION: str(-1 if hours < 0 else hours * 3_600_000),
    }
    if replicas:
        # More than half: what they have confirmed is not lost when fewer are, and the others do not wait for these.
        wanted[_CONFIRMING] = str(replicas // 2 + 1)
    return wanted


def _ensure_topic(
    admin: KafkaAdminClient, topic: str, wanted: dict[str, str], partition_count: int, replicas: int
) -> str:
    described = describe_topic(admin, topic)
    if described is None:
        try:
            # A replication factor of -1 is the brokers' own default.
            admin.create_topics(
                {
                    topic: {
                        "num_partitions": partition_count,
                        "replication_factor": replicas or -1,
                        "configs": wanted,
                    }
                },
                wait_for_metadata=True,
            )
        except InvalidReplicationFactorError as error:
            raise ConfigurationError(
                f"{PREFIX}KAFKA_REPLICATION={replicas}, but Kafka has fewer brokers. Ask for as many replicas as there are brokers at "
                "most, or start more."
            ) from error
        except TopicAlreadyExistsError:  # Another process was a moment faster.
            admin.wait_for_topics([topic])
            described = describe_topic(admin, topic)
            assert described is not None
        else:
            return f"Created {topic} with {_partitions(partition_count)}."
    return _repair(admin, described, wanted, partition_count, replicas)


def _repair(
    admin: KafkaAdminClient,
    described: dict[str, Any],
    wanted: dict[str, str],
    partition_count_wanted: int,
    replicas: int,
) -> str:
    """Bring an existing topic's settings to what is wanted, but lose no record and reinterpret none."""
    topic, partition_count = described["name"], len(described["partitions"])
    found = _configs(admin, topic, list(wanted))
    notes = []
    if partition_count != partition_count_wanted:
        notes.append(f"the setting {PREFIX}KAFKA_PARTITIONS={partition_count_wanted} applies to new topics only")
    found_replicas = min(len(partition["replica_nodes"]) for partition in described["partitions"])
    if replicas > found_replicas:
        notes.append(
            f"the setting {PREFIX}KAFKA_REPLICATION={replicas} applies to new topics only, and this one has {found_replicas}: "
            "`kafka-reassign-partitions` gives it more"
        )
    changes = {name: value for name, value in wanted.items() if found[name] != value}
    if int(wanted.get(_CONFIRMING, 0)) > found_replicas:
        changes.pop(_CONFIRMING, None)  # So many there are not: nothing would be taken any more.
    if _TIMESTAMP_TYPE in changes and (records := _count_records(admin, described)):
        raise ConfigurationError(
            f"Topic {topic} has {_TIMESTAMP_TYPE}={found[_TIMESTAMP_TYPE]}, expected {wanted[_TIMESTAMP_TYPE]}, and holds "
            f"{records} records whose times came from their producers and cannot order images. Choose another topic with "
            f"{PREFIX}KAFKA_TOPIC, or delete this one, run `python -m producers topics` and publish again."
        )
    if _RETENTION in changes and _is_shorter(changes[_RETENTION], than_ms=found[_RETENTION]):
        # Shortening deletes records at once, and could come from a forgotten setting in one terminal.
        del changes[_RETENTION]
        notes.append(
            f"{_RETENTION} stays at {found[_RETENTION]}, since {wanted[_RETENTION]} would delete records; to do so: "
            f"`kafka-python admin -b BROKER:PORT configs alter -r topic -n {topic} -c {_RETENTION}={wanted[_RETENTION]}`"
        )
    if changes:
        _alter(admin, topic, changes)
        notes.append("set " + ", ".join(f"{name}={value} (was {found[name]})" for name, value in changes.items()))
    return f"{topic} exists with {_partitions(partition_count)}" + "".join(f"; {note}" for note in notes) + "."


def _partitions(count: int) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"


def _alter(admin: KafkaAdminClient, topic: str, changes: dict[str, str]) -> None:
    answer = admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(changes))])["topic"][topic]
    if answer != "OK":
        raise DependencyError("kafka", f"Settings {changes} of topic {topic} were refused: {answer}.")


def describe_topic(admin: KafkaAdminClient, topic: str) -> dict[str, Any] | None:
    """Kafka's description of a topic, None when there is none."""
    described: dict[str, Any] = admin.describe_topics([topic])[0]
    if described["error_code"] == _UNKNOWN_TOPIC:
        return None
    if described["error_code"]:
        raise DependencyError("kafka", f"Topic {topic} cannot be described: error code {described['error_code']}.")
    return described


def _configs(admin: KafkaAdminClient, topic: str, names: list[str]) -> dict[str, str]:
    """These settings of a topic."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, names)
    configs = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    if not isinstance(configs, dict) or not configs:  # It was deleted a moment ago.
        raise DependencyError("kafka", f"The settings of topic {topic} cannot be read: {configs!r}.")
    return {name: configs[name]["value"] for name in names}


def _count_records(admin: KafkaAdminClient, described: dict[str, Any]) -> int:
    """Offsets between the first and the last record, summed over the partitions."""
    first, last = (
        partition_offsets(admin, [described], spec)[described["name"]]
        for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
    )
    return sum(last.values()) - sum(first.values())


def _is_shorter(retention_ms: str, *, than_ms: str) -> bool:
    return int(retention_ms) >= 0 and (int(than_ms) < 0 or int(retention_ms) < int(than_ms))
