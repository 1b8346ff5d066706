"""The registry of collections on a real Cassandra: a name is given once, whoever asks."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from contract.settings import Settings
from gallery.store.store import Store


@pytest.fixture(scope="module")
def store(stack: Settings) -> Iterator[Store]:
    opened = Store.connect(stack)
    yield opened
    opened.close()


def test_of_many_who_create_a_name_at_once_one_succeeds(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        added = list(
            pool.map(lambda n: store.registry.add(name="once", encoder=f"encoder-{n}", partitions=n + 1), range(8))
        )
    assert added.count(True) == 1
    found = store.registry.collections()["once"]
    assert (found.encoder, found.partitions) == (f"encoder-{added.index(True)}", added.index(True) + 1)
    assert found.created_at_ms > 1_700_000_000_000 and not found.is_dropped


def test_installations_that_share_a_keyspace_do_not_share_collections(stack: Settings, store: Store) -> None:
    other = Store.connect(stack.model_copy(update={"kafka_topic": "others"}))
    assert other.registry.add(name="shared", encoder="photo", partitions=1)
    assert "shared" not in store.registry.collections()
    assert not store.registry.mark_dropped("shared")
    assert store.registry.add(name="shared", encoder="contrast", partitions=2)
    assert other.registry.collections()["shared"].encoder == "photo"
    other.close()


def test_a_dropped_collection_stays_known_until_nothing_is_left(store: Store) -> None:
    assert not store.registry.mark_dropped("nobody")
    assert store.registry.add(name="short-lived", encoder="photo", partitions=1)
    assert store.registry.mark_dropped("short-lived")
    assert store.registry.collections()["short-lived"].is_dropped
    assert not store.registry.add(name="short-lived", encoder="photo", partitions=1)
    store.registry.remove("short-lived")
    assert "short-lived" not in store.registry.collections()
    assert not store.registry.mark_dropped("short-lived")
    assert store.registry.add(name="short-lived", encoder="photo", partitions=1)
