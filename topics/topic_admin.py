"""One connection over which any number of topics are asked about."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from contract.errors import DependencyError
from contract.messages import log_of
from contract.settings import Settings
from topics.clients import open_admin


class TopicAdmin:
    """A connection over which any number of `Topic` ask; made at the first question. Thread-safe: callers take turns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._admin: KafkaAdminClient | None = None

    def ask(self, doing: str, question: Callable[[KafkaAdminClient], Any]) -> Any:
        """What `question` returns of the connected client; raises DependencyError when Kafka fails it."""
        with self._lock:
            try:
                if self._admin is None:
                    self._admin = open_admin(self._settings)
                return question(self._admin)
            except (KafkaError, OSError) as error:
                self._close()
                raise DependencyError("kafka", f"{doing} failed: {error}") from error

    def logs(self, topics: Iterable[str]) -> dict[str, str]:
        """The logs of these topics now, without those that are not there.

        Raises:
            DependencyError: Kafka did not answer.
        """
        names = list(topics)
        described = self.ask("describing topics", lambda admin: admin.describe_topics(names)) if names else []
        return {
            found["name"]: log_of(found["name"], found["topic_id"]) for found in described if not found["error_code"]
        }

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._admin is not None:
            self._admin.close()
            self._admin = None
