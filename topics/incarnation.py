"""The topic of images as Kafka describes it: which incarnation it is, and whether the embedder can read it."""

import threading
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import KafkaError

from contract.errors import ConfigurationError, DependencyError, TopicReplacedError
from contract.messages import log_of
from contract.settings import PREFIX, Settings
from topics.clients import open_admin

_UNKNOWN_TOPIC = 3


class Topic:
    """Asks Kafka about the topic of images. Thread-safe: callers take turns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name = settings.kafka_topic
        self._lock = threading.Lock()
        self._admin: KafkaAdminClient | None = None

    def open(self) -> str:
        """Check that the topic can be embedded and return its log.

        Raises:
            ConfigurationError: it does not exist, or its records carry their producers' times.
            DependencyError: Kafka did not answer.
        """
        described, time_type = self._ask(lambda admin: (self._describe(admin), self._time_type(admin)))
        if described["error_code"] == _UNKNOWN_TOPIC:
            raise ConfigurationError(
                f"Topic {self._name} does not exist. Create it: `python -m producers topics`, or choose another with "
                f"{PREFIX}KAFKA_TOPIC."
            )
        if time_type != "LogAppendTime":
            raise ConfigurationError(
                f"Topic {self._name} has message.timestamp.type={time_type}, expected LogAppendTime: its records carry "
                "their producers' clocks, which cannot order images. See `python -m producers topics`."
            )
        return self._log(described)

    def verify(self, log: str) -> None:
        """Return when the topic is still the incarnation that `log` names.

        Kafka never gives an id twice. So when the topic has this id before and after records were fetched by its name,
        they belong to it.

        Raises:
            TopicReplacedError: it is another one now.
            DependencyError: Kafka did not answer, or does not know the topic now.
        """
        described = self._ask(self._describe)
        if described["error_code"]:
            raise DependencyError("kafka", f"Topic {self._name} cannot be described: code {described['error_code']}.")
        now = self._log(described)
        if now != log:
            raise TopicReplacedError(
                f"Topic {self._name} was deleted and created again while it was read: its log was {log}, now it is {now}. "
                "Images of both stay in the gallery; start the embedder again and it goes on with the new one."
            )

    def begins(self) -> dict[int, int]:
        """The first offset that Kafka holds, by partition; raises DependencyError like `open`."""
        partitions = [found["partition_index"] for found in self._ask(self._describe)["partitions"]]
        asked = {TopicPartition(self._name, partition): OffsetSpec.EARLIEST for partition in partitions}
        found = self._ask(lambda admin: admin.list_partition_offsets(asked))
        return {place.partition: answer.offset for place, answer in found.items()}

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _ask(self, question: Any) -> Any:
        with self._lock:
            try:
                if self._admin is None:
                    self._admin = open_admin(self._settings)
                return question(self._admin)
            except (KafkaError, OSError) as error:
                self._drop()
                raise DependencyError("kafka", f"describing topic {self._name} failed: {error}") from error

    def _drop(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _describe(self, admin: KafkaAdminClient) -> dict[str, Any]:
        described: dict[str, Any] = admin.describe_topics([self._name])[0]
        return described

    def _time_type(self, admin: KafkaAdminClient) -> str | None:
        resource = ConfigResource(ConfigResourceType.TOPIC, self._name, ["message.timestamp.type"])
        configs = admin.describe_configs([resource], config_filter="all")["topic"][self._name]
        return configs["message.timestamp.type"]["value"] if isinstance(configs, dict) and configs else None

    def _log(self, described: dict[str, Any]) -> str:
        return log_of(self._name, described["topic_id"])
