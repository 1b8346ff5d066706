"""Collections beside each other in tests of the embedder: created and dropped as a person would, without the rest of it."""

import contextlib
import random
from collections.abc import Iterator, Mapping

from kafka import KafkaAdminClient

from contract.collections import Collection, settings_of
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from tests.embedding import Sent, eventually, make_topics, picture


class Made:
    """The collections of one test, which are forgotten at its end: all tests of a run share the registry."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self._store = store
        self._names: set[str] = set()

    def create(self, name: str, *, encoder: str = "contrast", partitions: int = 1) -> tuple[Settings, str]:
        """Note a collection and create its topics; its settings and its log."""
        assert self._store.registry.add(name=name, encoder=encoder, partitions=partitions)
        self._names.add(name)
        settings = settings_of(self.settings, Collection(name=name, encoder=encoder, partitions=partitions))
        return settings, make_topics(settings)

    def drop(self, name: str, settings: Settings) -> None:
        """Let a collection go, and delete its topics at once."""
        assert self._store.registry.mark_dropped(name)
        delete_topics(settings)
        self._store.registry.remove(name)
        self._names.discard(name)

    def forget(self) -> None:
        """Leave none of them."""
        for name in self._names:
            self._store.registry.remove(name)


@contextlib.contextmanager
def made_collections(settings: Settings, store: Store) -> Iterator[Made]:
    """Collections that are forgotten at the end."""
    made = Made(settings, store)
    try:
        yield made
    finally:
        made.forget()


def delete_topics(settings: Settings) -> None:
    """Delete the topic of images and of rejected messages, and return when they are gone."""
    topics = [settings.kafka_topic, settings.rejected_topic]
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        admin.delete_topics(topics)
        eventually("the topics are gone", lambda: not set(topics) & set(admin.list_topics()))
    finally:
        admin.close()


def some_records(seed: int, count: int, *, partitions: int = 1, bad_every: int = 7) -> list[Sent]:
    """Images with the same ids for every seed and other pixels, every so many a bad one."""
    chance = random.Random(seed)
    return [
        Sent(
            f"n/{n}".encode(),
            b"no image" if n % bad_every == bad_every - 1 else picture(chance.randrange(2**31)),
            partition=n % partitions,
        )
        for n in range(count)
    ]


def outcomes(rows: Mapping[tuple[int, int], FeedRow]) -> dict[tuple[int, int], str]:
    """What became of each record."""
    return {place: row.outcome for place, row in rows.items()}


def expected(sent: list[Sent]) -> dict[tuple[int, int], str]:
    """What is to become of records of `some_records`."""
    return {(record.partition, record.offset): "reject" if record.value == b"no image" else "put" for record in sent}
