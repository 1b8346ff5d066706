"""The topics of a collection that goes, or of which some were never made."""

import contextlib

from kafka.errors import KafkaError, UnknownTopicOrPartitionError

from contract.errors import DependencyError
from contract.settings import Settings
from topics.clients import open_admin
from topics.topic import describe_topic


def missing_topics(settings: Settings) -> list[str]:
    """Those of the two topics that do not exist.

    Raises:
        DependencyError: Kafka did not answer.
    """
    admin = open_admin(settings)
    try:
        return [name for name in _topics(settings) if describe_topic(admin, name) is None]
    except KafkaError as error:
        raise DependencyError("kafka", f"The topics could not be looked for: {error}") from error
    finally:
        admin.close()


def delete_topics(settings: Settings) -> None:
    """Delete the topic of images and the one of rejected messages with all that they hold; one that is not there is fine.

    Raises:
        DependencyError: Kafka did not do it.
    """
    admin = open_admin(settings)
    try:
        for name in _topics(settings):
            if describe_topic(admin, name) is not None:
                with contextlib.suppress(UnknownTopicOrPartitionError):
                    admin.delete_topics([name])
    except KafkaError as error:
        raise DependencyError("kafka", f"The topics could not be deleted: {error}") from error
    finally:
        admin.close()


def _topics(settings: Settings) -> tuple[str, ...]:
    """The topics of a collection."""
    return settings.kafka_topic, settings.rejected_topic, settings.matches_topic
