"""The collections that there are: one row each. The collection `default` needs none before its engine is changed."""

import time
from collections.abc import Callable

from contract.collections import Collection
from contract.settings import Engine
from gallery.store.session import CassandraSession

_COLUMNS = "name, encoder, partitions, created_at, engine, beside, dropped"


class Registry:
    """Who creates and drops collections writes here, and who serves them reads it again and again. Thread-safe.

    Every method raises DependencyError when Cassandra fails it.

    Args:
        topic: of `default`.
        clock: seconds since 1970.
    """

    def __init__(self, session: CassandraSession, topic: str, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._topic = topic
        self._clock = clock
        self._select = session.prepare(f"SELECT {_COLUMNS} FROM collections WHERE topic = ?")
        # Two who create the same name at once must not both succeed: the one place where Cassandra decides an order.
        self._insert = session.prepare(
            f"INSERT INTO collections (topic, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, null, false) IF NOT EXISTS"
        )
        self._drop = session.prepare("UPDATE collections SET dropped = true WHERE topic = ? AND name = ? IF EXISTS")
        self._set_engines = session.prepare(
            "UPDATE collections SET engine = ?, beside = ? WHERE topic = ? AND name = ? IF EXISTS"
        )
        self._delete = session.prepare("DELETE FROM collections WHERE topic = ? AND name = ? IF EXISTS")

    def collections(self) -> dict[str, Collection]:
        """All collections by name, also those that are being dropped."""
        with self._session.asked("reading collections") as driver:
            rows = list(driver.execute(self._select, (self._topic,)))
        return {
            name: Collection(
                name=name,
                encoder=encoder,
                partitions=partitions,
                created_at_ms=created_at,
                is_dropped=bool(dropped),
                engine=engine or "exact",
                beside=beside,
            )
            for name, encoder, partitions, created_at, engine, beside, dropped in sorted(rows, key=lambda row: row[0])
        }

    def add(self, *, name: str, encoder: str, partitions: int, engine: Engine = "exact") -> bool:
        """Note a new collection; False when there is one of this name already."""
        with self._session.asked("creating a collection") as driver:
            created_at_ms = int(self._clock() * 1000)
            if driver.execute(self._insert, (self._topic, name, encoder, partitions, created_at_ms, engine)).one()[0]:
                return True
        # A node that fell while it was asked may have done it, and another one was asked again.
        found = self.collections().get(name)
        return found is not None and (found.created_at_ms, found.encoder) == (created_at_ms, encoder)

    def set_engines(self, name: str, engine: Engine, beside: Engine | None) -> bool:
        """Say which engine answers for a collection, and which one's index grows beside; False when there is none of this name."""
        with self._session.asked("changing a collection") as driver:
            return bool(driver.execute(self._set_engines, (engine, beside, self._topic, name)).one()[0])

    def mark_dropped(self, name: str) -> bool:
        """Have everybody let go of a collection; False when there is none of this name."""
        with self._session.asked("dropping a collection") as driver:
            return bool(driver.execute(self._drop, (self._topic, name)).one()[0])

    def remove(self, name: str) -> None:
        """Forget a collection of which nothing is left."""
        with self._session.asked("dropping a collection") as driver:
            driver.execute(self._delete, (self._topic, name))
