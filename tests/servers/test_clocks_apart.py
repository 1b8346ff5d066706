"""Programs whose clocks are an hour apart write to Cassandra: what the later one says counts."""

import time
from collections.abc import Callable, Iterator

import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from gallery.store.watches import StoredWatch, WatchStart

HOUR_US = 3600 * 1_000_000


@pytest.fixture
def ahead(stack: Settings) -> Iterator[Store]:
    """The store of a program whose clock is an hour ahead."""
    store = Store.connect(stack)
    store._session._cluster.timestamp_generator = lambda: int(time.time() * 1e6) + HOUR_US
    yield store
    store.close()


@pytest.fixture
def behind(stack: Settings) -> Iterator[Store]:
    store = Store.connect(stack)
    yield store
    store.close()


def watch(watch_id: str) -> StoredWatch:
    return StoredWatch(
        topic="clocks",
        id=watch_id,
        name="",
        embedding=b"\0\0\0\0",
        encoder="e",
        max_distance=1.0,
        start=WatchStart("clocks:log", {}),
        created_at_ms=1,
    )


def test_a_watch_that_was_deleted_is_gone_whoever_created_it(ahead: Store, behind: Store) -> None:
    ahead.watches.add(watch("deleted"), image=b"image")
    behind.watches.delete(topic="clocks", watch_id="deleted")
    assert "deleted" not in behind.watches.ids("clocks")
    assert behind.watches.read_image("deleted") == b""
    ahead.watches.tell_from("clocks", {"deleted": 7})  # a watcher that does not know it yet
    assert behind.watches.read("clocks", ["deleted"]) == []


def test_a_watch_is_taken_up_whoever_created_it(ahead: Store, behind: Store) -> None:
    ahead.watches.add(watch("taken-up"))
    behind.watches.tell_from("clocks", {"taken-up": 7})
    assert [each.told_from for each in behind.watches.read("clocks", ["taken-up"])] == [7]


@pytest.mark.parametrize("forget", ["one", "all"])
def test_what_are_no_duplicates_is_what_was_said_last(ahead: Store, behind: Store, forget: str) -> None:
    topic = f"clocks.{forget}"
    images = [(name, RecordKey("clocks:log", 0, n)) for n, name in enumerate("ab")]
    made = ahead.distinct.remember(topic, images)
    forgets: dict[str, Callable[[Store], None]] = {
        "one": lambda store: store.distinct.forget(topic, made.name),
        "all": lambda store: store.distinct.forget_all(topic),
    }
    forgets[forget](behind)
    assert behind.distinct.sets(topic) == []
    forgets[forget](ahead)
    behind.distinct.remember(topic, images)
    assert [each.name for each in behind.distinct.sets(topic)] == [made.name]
