"""What people said are no duplicates: sets of images of one collection, no two of which are."""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from contract.record_key import RecordKey
from gallery.store.session import CassandraSession

_COLUMNS = "topic, name, images, created_at"


@dataclass(frozen=True)
class DistinctSet:
    """Images no two of which are duplicates, by the records that brought them, so that a replaced image counts anew.

    Attributes:
        name: follows from the records, so that saying it twice changes nothing.
        images: (id, record) of each, sorted.
    """

    name: str
    images: tuple[tuple[str, RecordKey], ...]
    created_at_ms: int


class Distinct:
    """Remembers such sets by the collection's topic. Thread-safe. Every method raises DependencyError when Cassandra fails it.

    Args:
        clock: seconds since 1970.
    """

    def __init__(self, session: CassandraSession, clock: Callable[[], float] = time.time) -> None:
        self._session = session
        self._clock = clock
        self._select = session.prepare("SELECT name, images, created_at FROM distinct_images WHERE topic = ?")
        # With a condition Cassandra itself orders what is said of a set, whatever the clocks of those who say it.
        self._insert = session.prepare(f"INSERT INTO distinct_images ({_COLUMNS}) VALUES (?, ?, ?, ?) IF NOT EXISTS")
        self._delete = session.prepare("DELETE FROM distinct_images WHERE topic = ? AND name = ? IF EXISTS")

    def sets(self, topic: str) -> list[DistinctSet]:
        """All sets of a collection, by name."""
        with self._session.asked("reading what are no duplicates") as driver:
            rows = list(driver.execute(self._select, (topic,)))
        return [DistinctSet(name, _images(text), created_at) for name, text, created_at in rows]

    def remember(self, topic: str, images: Sequence[tuple[str, RecordKey]]) -> DistinctSet:
        """Remember that no two of these images are duplicates."""
        ordered = tuple(sorted(set(images)))
        text = msgspec.json.encode(ordered)
        made = DistinctSet(hashlib.sha256(text).hexdigest()[:32], ordered, int(self._clock() * 1000))
        with self._session.asked("remembering what are no duplicates") as driver:
            driver.execute(self._insert, (topic, made.name, text.decode(), made.created_at_ms))
        return made

    def forget(self, topic: str, name: str) -> None:
        """Forget a set, known or not."""
        with self._session.asked("forgetting what are no duplicates") as driver:
            driver.execute(self._delete, (topic, name))

    def forget_all(self, topic: str) -> None:
        """Forget all sets of a collection that is dropped."""
        for made in self.sets(topic):
            self.forget(topic, made.name)


def _images(text: str) -> tuple[tuple[str, RecordKey], ...]:
    found = msgspec.json.decode(text, type=list[tuple[str, tuple[str, int, int]]])
    return tuple((image_id, RecordKey(*key)) for image_id, key in found)
