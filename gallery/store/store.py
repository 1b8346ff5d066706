"""The store: the feed, the records, the collections and the watches, over one session with Cassandra."""

import time
from collections.abc import Callable

from contract.settings import Settings
from gallery.store.distinct import Distinct
from gallery.store.embedding_tables import EmbeddingTables
from gallery.store.feed import Feed
from gallery.store.records import Records
from gallery.store.registry import Registry
from gallery.store.session import CassandraSession
from gallery.store.tables import Tables
from gallery.store.watches import Watches


class Store:
    """What Cassandra holds. Thread-safe.

    Attributes:
        feed: what became of every Kafka record, by encoder.
        records: what is known of each image, and its bytes as they were published.
        registry: the collections that there are.
        distinct: what people said are no duplicates.
        embedding_tables: what the engine of Cassandra's answers from.
        watches: the standing queries of all collections.
        tables: all of it, row by row, for backups.
    """

    def __init__(self, session: CassandraSession, topic: str, clock: Callable[[], float]) -> None:
        self._session = session
        self.records = Records(session)
        self.feed = Feed(session, self.records, clock)
        self.registry = Registry(session, topic, clock)
        self.distinct = Distinct(session, clock)
        self.embedding_tables = EmbeddingTables(session, clock)
        self.watches = Watches(session)
        self.tables = Tables(session)

    @classmethod
    def connect(cls, settings: Settings, clock: Callable[[], float] = time.time) -> "Store":
        """Connect, and create what is missing of the schema.

        Args:
            clock: seconds since 1970, for what is written now.

        Raises:
            ConfigurationError: this program is too old for the schema that is there.
            DependencyError: Cassandra does not answer.
        """
        session = CassandraSession.connect(settings)
        try:
            return cls(session, settings.kafka_topic, clock)
        except BaseException:
            session.close()
            raise

    def delete_logs(self, topic: str) -> None:
        """Delete every row of a topic's logs, and then that there were such logs, so that it can be repeated.

        Raises:
            DependencyError: Cassandra did not do it.
        """
        logs = set(self.feed.logs(topic))
        if logs:
            self.feed.delete(logs)
            self.records.delete(logs)
        self.feed.forget_logs(topic)

    def close(self) -> None:
        """Close all connections."""
        self._session.close()
