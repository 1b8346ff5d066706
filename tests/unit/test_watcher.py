"""Every record at or after a watch's start that matches is told at least once, and no other: whatever comes in which order."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.record_key import RecordKey
from gallery.store.rows import FeedRow
from gallery.store.watches import StoredWatch, WatchStart
from topics.matches import WatchMatch, match_id
from workers.watcher import following
from workers.watcher.following import Following
from workers.watcher.selection import select_rows

TOPIC, OLD, LOG, NEW = "images", "images:old", "images:now", "images:new"
D = 4
ODD = '{"is":"odd"}'
ONLY_ODD = '{"must": [{"key": "is", "match": {"value": "odd"}}]}'


class Tables:
    """The feed, the watches and the matches as Cassandra and Kafka would hold them; each survives the watcher."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], list[FeedRow]] = defaultdict(list)
        self.stored: dict[str, StoredWatch] = {}
        self.marks: dict[tuple[str, int], int] = {}
        self.told: list[WatchMatch] = []

    def logs(self, topic: str) -> list[str]:
        return [log for log in (OLD, LOG, NEW) if any(place[0] == log for place in self.rows)]

    def partitions(self, log: str, *, fingerprint: str) -> set[int]:
        return {place[1] for place in self.rows if place[0] == log}

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int) -> list[FeedRow]:
        return [row for row in self.rows[start[:2]] if start.offset <= row.key.offset < end_offset]

    def read(self, start: Any, limit: Any, **_: object) -> list[Any]:
        if isinstance(start, RecordKey):  # of the feed
            return [row for row in self.rows[start[:2]] if row.key.offset >= start.offset][:limit]
        return [self.stored[each] for each in limit if each in self.stored]

    def ids(self, topic: str) -> set[str]:
        return set(self.stored)

    def progress(self, topic: str) -> dict[tuple[str, int], int]:
        return dict(self.marks)

    def note_progress(self, topic: str, progress: dict[tuple[str, int], int]) -> None:
        self.marks |= progress

    def tell_from(self, topic: str, told_from: dict[str, int]) -> None:
        for watch_id, offset in told_from.items():
            if watch_id in self.stored:
                self.stored[watch_id] = replace(self.stored[watch_id], told_from=offset)

    def publish(self, matches: Sequence[WatchMatch]) -> list[int]:
        self.told += matches
        return []

    def end_offset(self) -> int:
        return len(self.told)


class Encoder:
    fingerprint, dimensions = "e", D

    def embed(self, value: bytes) -> bytes | None:
        raise AssertionError


class Killed(Exception):  # noqa: N818
    """The watcher ended at a failpoint."""


class World:
    """Kafka's ends may be ahead of the feed; an oracle over the plain list of records says what must be told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tables, self.armed, self.time, self.made = Tables(), "", 0.0, 0
        self.late: list[FeedRow] = []
        self.all: dict[str, StoredWatch] = {}
        self.ends: dict[tuple[str, int], int] = defaultdict(int)
        self.log = LOG
        monkeypatch.setattr(following, "failpoint", self.failpoint)
        self.restart()

    def failpoint(self, name: str) -> None:
        if name == self.armed:
            self.armed = ""
            raise Killed

    def restart(self) -> None:
        tables = self.tables
        self.encoder = Encoder()
        self.watcher = Following(
            topic=TOPIC,
            collection="default",
            partitions=1,
            feed=tables,  # type: ignore[arg-type]
            watches=tables,  # type: ignore[arg-type]
            teller=tables,
            verdicts=lambda hits: [None] * len(hits),
            selects=select_rows,
            clock=lambda: self.time,
        )

    def append(self, partition: int, number: int, outcome: str = "put") -> None:
        """A record comes to Kafka; the embedder has not come to it."""
        label = ODD if number % 2 else ""
        place = self.log, partition
        key = RecordKey(*place, self.ends[place])
        self.ends[place] += 1
        blob = np.full(D, number, "<f4").tobytes() if outcome == "put" else None
        self.late.append(FeedRow(key, key.offset, outcome, "x", "id", blob, 1, metadata=label))  # type: ignore[arg-type]

    def embed(self, count: int) -> None:
        """The embedder writes so many of its rows."""
        for row in self.late[:count]:
            self.tables.rows[row.key[:2]].append(row)
            self.tables.rows[row.key[:2]].sort(key=lambda each: each.key.offset)
        del self.late[:count]

    def embed_last(self, count: int) -> None:
        """An embedder writes so many rows before those that come before them, as one of several writes at once does."""
        for row in self.late[-count:]:
            self.tables.rows[row.key[:2]].append(row)
            self.tables.rows[row.key[:2]].sort(key=lambda each: each.key.offset)
        del self.late[-count:]

    def start(self) -> WatchStart:
        offsets = {str(p): end for (log, p), end in self.ends.items() if log == self.log}
        return WatchStart(log=self.log, offsets=offsets, older=[] if self.log == LOG else [LOG])

    def create_late(self, partition: int, number: int, reach: float) -> None:
        """A watch whose row is written a good while after Kafka was asked: by then the watcher has passed its start."""
        start = self.start()
        self.append(partition, number)
        self.embed(len(self.late))
        self.step()
        self.create(number, reach, start=start)
        self.time += 1.5

    def new_log(self) -> None:
        """The topic is deleted and created again."""
        self.embed(len(self.late))
        self.log = NEW

    def delete(self, number: int) -> None:
        """A person deletes a watch, if it is there."""
        self.tables.stored.pop(f"w{number}", None)

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds

    def create(self, number: int, reach: float, label: str = "", *, start: WatchStart | None = None) -> None:
        self.made += 1
        blob = np.full(D, number, "<f4").tobytes()
        watch = StoredWatch(
            topic=TOPIC,
            id=f"w{self.made}",
            name="",
            embedding=blob,
            encoder="e",
            max_distance=reach,
            filter=ONLY_ODD if label else "",
            start=start or self.start(),
            created_at_ms=1,
        )
        self.tables.stored[watch.id] = self.all[watch.id] = watch

    def step(self, armed: str = "") -> None:
        self.armed = armed
        try:
            while self.watcher.step(self.encoder):
                pass
        except Killed:
            self.restart()

    def wanted(self, watch: StoredWatch) -> set[str]:
        found = set()
        for place, rows in self.tables.rows.items():
            first = watch.start.in_partition(*place)
            for row in rows:
                if row.embedding is None or first is None or row.key.offset < first:
                    continue
                far = np.linalg.norm(
                    np.frombuffer(row.embedding, "<f4").astype(float) - np.frombuffer(watch.embedding, "<f4")
                )
                if far <= watch.max_distance and (not watch.filter or row.metadata == ODD):
                    found.add(match_id(watch.id, row.key))
        return found

    def check(self) -> None:
        """At rest: everything that is due was told, and nothing that never was."""
        self.embed(len(self.late))
        for _ in range(4):
            self.time += 10
            self.step()
        told = {match.id for match in self.tables.told}
        assert set().union(*(self.wanted(watch) for watch in self.tables.stored.values())) <= told
        assert told <= set().union(*(self.wanted(watch) for watch in self.all.values()))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 1), st.integers(0, 3), st.sampled_from(["put", "put", "delete"])),
        st.tuples(st.just("embed"), st.integers(1, 4)),
        st.tuples(st.just("create"), st.integers(0, 3), st.sampled_from([0.0, 2.0, 1e30]), st.sampled_from(["", ODD])),
        st.tuples(st.just("create late"), st.integers(0, 1), st.integers(0, 3), st.sampled_from([0.0, 2.0, 1e30])),
        # Rows of one partition in another order than they are to be read in.
        st.tuples(st.just("embed last"), st.integers(1, 3)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
        st.tuples(st.just("new log")),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 1.5])),
        st.tuples(
            st.just("step"),
            st.sampled_from(
                [
                    "",
                    "",
                    "watcher-after-publish",
                    "watcher-after-progress",
                    "watcher-before-take-up",
                    "watcher-after-take-up",
                ]
            ),
        ),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_everything_since_its_start_is_told_and_nothing_else_whatever_comes_in_which_order(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(monkeypatch)
        world.create(0, 1e30)  # so that there is progress
        world.step()
        for what, *values in steps:
            getattr(world, what.replace(" ", "_"))(*values)
        world.check()


def test_rows_behind_a_gap_wait_until_it_is_filled() -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(monkeypatch)
        world.create(0, 1e30)
        world.append(0, 1)
        world.append(0, 2)
        world.embed_last(1)
        world.step()
        assert world.tables.told == []
        world.check()
        assert [match.source.offset for match in world.tables.told] == [0, 1]


class AnyEncoder(Encoder):
    """Embeds whatever it is given alike."""

    def __init__(self, fingerprint: str, number: int) -> None:
        self.fingerprint, self.number = fingerprint, number

    def embed(self, value: bytes) -> bytes | None:
        return np.full(D, self.number, "<f4").tobytes()


def test_after_a_change_of_encoder_a_watch_of_an_image_goes_on_and_one_of_an_embedding_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    monkeypatch.setattr(Tables, "read_image", lambda *_: b"", raising=False)
    monkeypatch.setattr(Tables, "embed", lambda tables, watch: tables.stored.update({watch.id: watch}), raising=False)
    world.create(1, 0.5)
    world.create(1, 0.5)
    world.tables.stored["w2"] = replace(world.tables.stored["w2"], image=object())  # type: ignore[arg-type]
    told = []
    for encoder, number in ((AnyEncoder("e", 1), 1), (AnyEncoder("other", 7), 7), (AnyEncoder("e", 1), 1)):
        world.encoder = encoder
        world.time += 10
        world.append(0, number)
        world.embed(1)
        world.step()
        told.append({match.watch for match in world.tables.told})
        world.tables.told.clear()
    assert told == [{"w1", "w2"}, {"w2"}, {"w1", "w2"}]
