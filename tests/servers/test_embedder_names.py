"""Embedders on several machines, which here are told by their setting, on a real Kafka and Cassandra."""

from pathlib import Path

import pytest

from contract.settings import Settings
from gallery.store.store import Store
from tests.embedding import Embedder, Sent, eventually, make_topics, picture, publish, running_embedder, wait_for_feed

TAKEN = '"event": "another embedder has this one\'s name"'


@pytest.mark.thorough
def test_machines_share_a_topic_and_of_two_with_one_name_the_newest_reads_and_the_other_says_why(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    """Two with one name would take it from each other for ever: each joins again once it is replaced."""
    log = make_topics(settings)
    here, there = (settings.model_copy(update={"host_name": name}) for name in ("here", "there"))
    with running_embedder(here, tmp_path) as first, running_embedder(there, tmp_path) as second:
        eventually("both read", lambda: all('"event": "assigned"' in one.text() for one in (first, second)), 180)
        with running_embedder(here, tmp_path) as twin:
            eventually("the first one says why it reads no more", lambda: TAKEN in first.text(), 180)
            assert "LOOKALIKE_HOST_NAME" in first.text() and "--slot" in first.text()
            wait_for_feed(store, settings, log, publish(settings, some(1, settings)))
            assert TAKEN not in twin.text(), "it would go on for ever"
            assert reads(twin) and not reads(first)
        eventually("the first one reads again", lambda: reads(first), 120)
        wait_for_feed(store, settings, log, publish(settings, some(2, settings)))
        assert all(one.process.poll() is None for one in (first, second)) and TAKEN not in second.text()


def some(seed: int, settings: Settings) -> list[Sent]:
    return [Sent(b"%d" % n, picture(100 * seed + n), partition=n % settings.kafka_partitions) for n in range(20)]


def reads(embedder: Embedder) -> bool:
    """Whether its partitions were given to it since it last lost them."""
    text = embedder.text()
    return text.rfind('"event": "assigned"') > text.rfind('"event": "revoked"')
