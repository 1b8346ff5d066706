"""Tables of embeddings on a real Cassandra: what is in them is what the fold says, whoever wrote it and wherever that ended."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.filters import parse_filter
from gallery.generations.fold import Position
from gallery.generations.writer import Writer
from gallery.store.embedding_tables import TableTakenError
from gallery.store.rows import FeedRow, Outcome
from gallery.store.store import Store
from gallery.table.lease import LEASE_S, Lease
from gallery.table.reader import TableReader
from gallery.table.snapshot import TableSnapshot
from gallery.table.writer import TableWriter
from tests.conftest import fresh_settings

DIMENSIONS = 16
ENCODER = "an-encoder"
PARTITIONS = 3


class Written:
    """What an embedder wrote by chance on partitions whose clocks differ, and a table that is filled from it."""

    def __init__(self, store: Store, topic: str, folder: Path, chance: random.Random) -> None:
        self.store, self.topic, self.folder, self.chance = store, topic, folder, chance
        self.log = f"{topic}:1"
        self.rows: list[list[FeedRow]] = [[] for _ in range(PARTITIONS)]
        self.now_s = 0.0
        self.writer = self.opened()

    def opened(self, folder: str = "one", *, rebuild: bool = False) -> TableWriter:
        """A writer that takes the table, as one of this folder."""
        lease = Lease(self.store.embedding_tables, self.folder / folder, self.topic, ENCODER)
        mine = lease.try_take()
        assert mine is not None
        writer = TableWriter(
            self.store.embedding_tables, mine, ENCODER, DIMENSIONS, rebuild=rebuild, clock=lambda: self.now_s
        )
        writer.set_logs([self.log])
        for partition in range(PARTITIONS):
            writer.fold.follow(0, partition)
        return writer

    def grow(self, count: int, metadata: Callable[[int], str] = lambda _: "") -> None:
        """So many more records; ids are met again, on any partition."""
        for _ in range(count):
            rows = self.rows[self.chance.randrange(PARTITIONS)]
            offset, number = len(rows), self.chance.randrange(60)
            outcome: Outcome = self.chance.choices(("put", "delete", "reject"), (8, 2, 1))[0]
            embedding = np.array([self.chance.gauss(0, 1) for _ in range(DIMENSIONS)], "<f4").tobytes()
            place = RecordKey(self.log, self.rows.index(rows), offset)
            rows.append(
                FeedRow(
                    place,
                    offset,
                    outcome,
                    "corrupt" if outcome == "reject" else "",
                    f"image/{number}",
                    embedding if outcome == "put" else None,
                    1_000_000 + self.chance.randrange(500),
                    metadata=metadata(number) if outcome == "put" else "",
                )
            )

    def step(self, writer: TableWriter | None = None, most: int = 2048) -> None:
        """What the indexer does with what is new."""
        writer = writer or self.writer
        read = {
            partition: rows[writer.fold.progress[0, partition].next_offset :][:most]
            for partition, rows in enumerate(self.rows)
        }
        writer.prefetch(row for rows in read.values() for row in rows)
        for partition, rows in read.items():
            writer.stage(writer.fold.add(0, partition, rows))
        writer.publish()

    def expected(self) -> dict[str, tuple[Position, bytes]]:
        """By brute force: of each id the record that wins, where that is a put."""
        newest: dict[str, tuple[Position, bytes | None]] = {}
        for partition, rows in enumerate(self.rows):
            reached_ms = 0
            for row in rows:
                reached_ms = max(reached_ms, row.kafka_time_ms)
                if row.outcome != "reject":
                    place = Position(0, reached_ms, partition, row.key.offset, row.kafka_time_ms)
                    newest[row.image_id] = max(newest.get(row.image_id, (place, row.embedding)), (place, row.embedding))
        return {image_id: (place, e) for image_id, (place, e) in newest.items() if e is not None}

    def snapshot(self) -> TableSnapshot:
        found = TableReader(lambda: self.store, self.topic, ENCODER, asks_again=False).current()
        assert found is not None
        return found

    def check(self) -> TableSnapshot:
        """What is covered is all, and the table holds exactly that."""
        snapshot, expected = self.snapshot(), self.expected()
        assert snapshot.manifest.offsets == {str(p): len(rows) for p, rows in enumerate(self.rows)}
        assert dict(snapshot.contents()) == expected
        assert snapshot.count == len(expected)
        assert snapshot.manifest.content_digest == self.exact_digest()
        return snapshot

    def exact_digest(self) -> str:
        """The content digest of an exact index of the same rows."""
        with closing(Writer(self.folder / f"exact-{time.monotonic_ns()}", ENCODER, DIMENSIONS)) as writer:
            writer.set_logs([self.log])
            for partition, rows in enumerate(self.rows):
                writer.stage(writer.fold.add(0, partition, rows))
            return writer.publish().content_digest


@pytest.fixture
def store(stack: Settings, tmp_path: Path) -> Iterator[Store]:
    opened = Store.connect(fresh_settings(stack, tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def written(store: Store, stack: Settings, tmp_path: Path, chance: random.Random) -> Written:
    return Written(store, fresh_settings(stack, tmp_path).kafka_topic, tmp_path, chance)


def test_table_holds_what_the_fold_says_and_its_digest_is_that_of_an_exact_index(written: Written) -> None:
    for _ in range(4):
        written.grow(60)
        written.step()
        written.check()


def test_writer_that_ends_anywhere_is_followed_by_one_that_counts_right(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are written and not covered are folded again, also when fewer are read at once."""
    written.grow(50)
    written.step()

    def fails(*_: object) -> None:
        raise DependencyError("cassandra", "away")

    for step in range(6):
        written.grow(40)
        with monkeypatch.context() as broken:
            broken.setattr(written.store.embedding_tables, "commit", fails)
            with pytest.raises(DependencyError):
                written.step(most=step % 3 * 10 or 2048)
        if step % 2:
            written.writer = written.opened()  # else the same one goes on
        while written.snapshot().manifest.offsets != {str(p): len(rows) for p, rows in enumerate(written.rows)}:
            written.step(most=7)
        written.check()


def test_writer_that_was_taken_over_from_can_change_nothing(written: Written) -> None:
    written.grow(60)
    written.step()
    old, written.writer = written.writer, written.opened()
    written.grow(20)
    stale = [list(rows) for rows in written.rows]
    written.grow(60)
    written.step()
    newest, written.rows = written.rows, stale
    with pytest.raises(TableTakenError):
        written.step(old)
    written.rows = newest
    written.check()
    written.now_s += 10
    with pytest.raises(TableTakenError):
        old.keep()


def test_indexer_of_another_machine_takes_over_once_the_writer_tells_nothing_any_more(
    written: Written, store: Store, tmp_path: Path
) -> None:
    now_s = 0.0
    lease = Lease(store.embedding_tables, tmp_path / "other", written.topic, ENCODER, lambda: now_s)
    assert lease.try_take() is None
    now_s += LEASE_S - 1
    written.now_s += 10
    written.writer.keep()
    assert lease.try_take() is None
    now_s += LEASE_S - 1
    assert lease.try_take() is None
    now_s += 2
    assert lease.try_take() is not None


def test_table_that_answers_does_so_until_a_new_one_covers_as_much(written: Written) -> None:
    written.grow(80)
    written.step()
    before = written.check()
    written.writer = written.opened(rebuild=True)
    for _ in range(3):
        assert written.snapshot().manifest == before.manifest
        written.step(most=len(written.rows[0]) // 4)
    while written.snapshot().manifest == before.manifest:
        written.step(most=20)
    assert written.check().manifest.index_id != before.manifest.index_id
    assert before.table.is_there()
    written.now_s += 20
    written.writer.keep()
    assert not before.table.is_there()


def test_table_that_somebody_dropped_is_built_again(written: Written) -> None:
    written.grow(40)
    written.step()
    written.snapshot().table.drop()
    written.writer = written.opened()
    written.step()
    written.check()


def test_search_finds_what_brute_force_finds_also_with_filters(written: Written) -> None:
    def metadata(number: int) -> str:
        return f'{{"label": {number % 5}, "tags": ["t{number % 3}"], "size": {number}.0}}'

    written.grow(400, metadata)
    written.step()
    snapshot = written.check()
    held = {image_id: np.frombuffer(e, "<f4") for image_id, (_, e) in written.expected().items()}
    query = np.array([written.chance.gauss(0, 1) for _ in range(DIMENSIONS)], np.float32)
    holds: dict[str, Callable[[int], bool]] = {
        '{"must": {"key": "label", "match": {"value": 2.0}}}': lambda n: n % 5 == 2,
        '{"must": [{"key": "tags", "match": {"value": "t1"}}, {"key": "label", "match": {"value": 1}}]}': lambda n: (
            n % 3 == 1 and n % 5 == 1
        ),
        '{"must": {"key": "size", "range": {"gte": 30}}}': lambda n: n >= 30,
        '{"must_not": {"key": "label", "match": {"value": 0}}}': lambda n: n % 5 != 0,
        '{"must": {"has_id": ["image/3", "image/4", "nobody"]}}': lambda n: n in (3, 4),
        '{"must": {"key": "label", "match": {"value": "2"}}}': lambda n: False,
    }
    assert nearest(snapshot, query, None) == brute_force(held, query, lambda _: True)
    for asked, does in holds.items():
        assert nearest(snapshot, query, asked) == brute_force(held, query, does), asked


def test_filter_that_leaves_fewer_than_asked_says_so(written: Written) -> None:
    written.grow(400, lambda number: f'{{"size": {number}}}')
    written.step()
    found = written.snapshot().nearest(
        np.zeros(DIMENSIONS, np.float32),
        10,
        candidates=20,
        condition=parse_filter('{"must": {"key": "size", "range": {"gte": 1000}}}'),
    )
    # All were looked at: there is nothing farther away.
    assert (found.matches, found.is_cut_short) == ([], False)


def nearest(snapshot: TableSnapshot, query: NDArray[np.float32], asked: str | None) -> list[tuple[str, float]]:
    condition = parse_filter(asked) if asked else None
    found = snapshot.nearest(query, 10, candidates=60, condition=condition)
    assert not found.is_cut_short
    return [(match.image_id, round(match.distance, 9)) for match in found.matches]


def brute_force(
    held: dict[str, NDArray[np.float32]], query: NDArray[np.float32], does: Callable[[int], bool]
) -> list[tuple[str, float]]:
    keyed = sorted(
        (float(np.linalg.norm(embedding.astype(float) - query)), image_id)
        for image_id, embedding in held.items()
        if does(int(image_id.split("/")[1]))
    )
    return [(image_id, round(distance, 9)) for distance, image_id in keyed[:10]]
