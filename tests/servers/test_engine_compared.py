"""What is asked before another engine answers: a generation and a table are compared at equal coverage, and what differs is named."""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from contract.errors import LookalikeError, UnknownCollectionError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.change_engine import compare_with_table, let_go_of_other_engine, promote_engine
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from tests.api_gallery import Gallery, digit
from tests.conftest import fresh_settings
from tests.servers.test_embedding_table import DIMENSIONS, ENCODER, PARTITIONS, Written


@pytest.fixture
def store(stack: Settings, tmp_path: Path) -> Iterator[Store]:
    with closing(Store.connect(fresh_settings(stack, tmp_path))) as opened:
        yield opened


@pytest.fixture
def written(store: Store, stack: Settings, tmp_path: Path, chance: random.Random) -> Written:
    return Written(store, fresh_settings(stack, tmp_path).kafka_topic, tmp_path, chance)


class _Rows:
    """The feed, as far as a comparison reads it."""

    def __init__(self, written: Written) -> None:
        self._written = written

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int) -> Iterator[FeedRow]:
        assert (start.log, fingerprint) == (self._written.log, ENCODER)
        yield from self._written.rows[start.partition][start.offset : end_offset]


def test_a_table_that_is_ahead_is_compared_with_a_generation_at_equal_coverage(written: Written) -> None:
    feed = cast(Feed, _Rows(written))
    with closing(Writer(written.folder / "exact", ENCODER, DIMENSIONS)) as writer:
        writer.set_logs([written.log])
        for partition in range(PARTITIONS):
            writer.fold.follow(0, partition)
        for _ in range(4):
            written.grow(40)
            for partition, rows in enumerate(written.rows):
                writer.stage(writer.fold.add(0, partition, rows[writer.fold.progress[0, partition].next_offset :]))
            writer.publish()
            exact = Reader(written.folder / "exact", ENCODER).current()
            written.grow(30)
            written.step()
            table = written.check().manifest
            assert exact is not None
            compared = compare_with_table(exact, table, feed)
            assert compared.differences == []
            assert (compared.images, compared.records_between) == (table.count, 30)


def test_a_table_that_holds_something_else_is_not_as_a_generation(written: Written) -> None:
    written.grow(60)
    written.step()
    with closing(Writer(written.folder / "exact", ENCODER, DIMENSIONS)) as writer:
        writer.set_logs([written.log])
        place, _ = next(iter(written.expected().values()))
        for partition, rows in enumerate(written.rows):
            kept = [
                replace(row, outcome="delete", embedding=None)
                if (partition, row.key.offset) == (place.partition, place.offset)
                else row
                for row in rows
            ]
            writer.stage(writer.fold.add(0, partition, kept))
        writer.publish()
    exact = Reader(written.folder / "exact", ENCODER).current()
    assert exact is not None
    differences = compare_with_table(exact, written.check().manifest, cast(Feed, _Rows(written))).differences
    assert len(differences) == 2
    assert f"has {exact.count} images" in differences[0] and f"has {exact.count + 1}." in differences[0]
    assert "content digest" in differences[1]


def test_engine_whose_index_covers_less_does_not_answer_and_the_same_can_be_run_again(
    stack: Settings, tmp_path: Path
) -> None:
    settings = fresh_settings(stack, tmp_path)
    Gallery(settings).put({str(n): digit(n) for n in range(3)})
    with closing(Store.connect(settings)) as store:
        for _ in range(2):
            with pytest.raises(LookalikeError, match=r"cassandra is not there yet.*run the same again"):
                promote_engine(settings, store, "default", to="cassandra", wait_s=0.0)
            found = store.registry.collections()["default"]
            assert (found.engine, found.beside) == ("exact", "cassandra")
        with pytest.raises(LookalikeError, match="exact answers for default"):
            let_go_of_other_engine(settings, store, "default", engine="cassandra")
        let_go_of_other_engine(settings, store, "default", engine="exact")
        found = store.registry.collections()["default"]
        assert (found.engine, found.beside) == ("exact", None)
        assert promote_engine(settings, store, "default", to="exact", wait_s=0.0) is None
        with pytest.raises(UnknownCollectionError):
            promote_engine(settings, store, "nobodys", to="cassandra", wait_s=0.0)
