"""The indexer is killed between the rows of a table of embeddings and what says that they are covered: both stay exact."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.settings import Settings
from gallery.table.reader import newest_table
from gallery.table.snapshot import TableSnapshot
from gallery.verify import verify
from tests.conftest import fresh_settings
from tests.faults.test_index_kills import PARTITIONS, Feed, killed, running
from tests.waiting import wait_for

STEPS = ("indexer-before-rows:2", "indexer-after-rows:2", "indexer-after-rows", "indexer-after-coverage:2")


class TableFeed(Feed):
    """The same feed, for a table."""

    def check(self) -> None:
        """The table comes to hold exactly what was written, each image once, and count and digest say the same."""
        snapshot = wait_for(self._table_covers)
        assert {image_id: embedding for image_id, (_, embedding) in snapshot.contents()} == self.expected
        assert snapshot.count == len(self.expected)
        assert verify(snapshot, self.store.feed).differences == []

    def _table_covers(self) -> TableSnapshot | None:
        snapshot = newest_table(self.store, self.settings)
        if snapshot is None:
            return None
        ends = {str(partition): end for partition, end in self.ends.items()}
        return snapshot if ends.items() <= snapshot.manifest.offsets.items() else None


@pytest.fixture
def settings(stack: Settings, tmp_path: Path) -> Settings:
    keyspace = f"{stack.cassandra_keyspace}_table"
    return fresh_settings(stack, tmp_path, kafka_partitions=PARTITIONS, engine="cassandra", cassandra_keyspace=keyspace)


@pytest.fixture
def feed(settings: Settings, chance: random.Random) -> Iterator[TableFeed]:
    feed = TableFeed(settings, chance)
    yield feed
    feed.store.close()


@pytest.mark.timeout(300)
def test_indexer_killed_around_its_rows_goes_on_with_exactly_what_the_feed_says(
    settings: Settings, feed: TableFeed, tmp_path: Path
) -> None:
    feed.grow(200)
    for step in STEPS:
        with running(settings, tmp_path, "workers", "indexer", failpoints=step) as process:
            wait_for(lambda process=process: killed(process, feed), timeout_s=90)  # type: ignore[misc]
    with running(settings, tmp_path, "workers", "indexer"):
        feed.check()


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_indexer_of_another_machine_takes_over_from_one_that_was_killed(
    settings: Settings, feed: TableFeed, tmp_path: Path
) -> None:
    other = fresh_settings(settings, tmp_path / "other", kafka_topic=settings.kafka_topic)
    with running(settings, tmp_path, "workers", "indexer") as process:
        feed.grow(100)
        feed.check()
        with running(other, tmp_path, "workers", "indexer"):
            feed.grow(50)
            feed.check()
            process.kill()
            feed.grow(50)
            feed.check()
