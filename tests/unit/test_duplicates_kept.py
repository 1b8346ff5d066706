"""What of a run still holds while its gallery changes, and what verdicts are remembered for the next one."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.duplicates import DuplicateRuns
from contract.errors import IndexDamagedError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.duplicates.current import apart_in, record_of, surviving
from gallery.duplicates.found import (
    CLASSES,
    Duplicate,
    DuplicateClass,
    DuplicateGroup,
    FoundDuplicates,
    read_found,
    write_found,
)
from gallery.duplicates.grouping import NearPair
from gallery.store.distinct import DistinctSet
from gallery.store.rows import ImageRecord
from tests.api_gallery import LOG, digit, record
from workers.duplicates.judging import Judging


def members(count: int) -> list[Duplicate]:
    return [Duplicate(f"id-{n}", LOG, 0, n, n, 10, 10, 100, -1 if n == 0 else 0) for n in range(count)]


@given(st.sampled_from(CLASSES), st.integers(2, 6), st.data())
def test_a_group_holds_what_is_still_meant_and_never_one_image(
    kind: DuplicateClass, count: int, data: st.DataObject
) -> None:
    group = DuplicateGroup(kind, members(count))
    meant = data.draw(st.sets(st.integers(0, count - 1)))
    told = data.draw(st.lists(st.sets(st.integers(0, count - 1)), max_size=3))
    sets = [
        DistinctSet(str(n), tuple((f"id-{each}", RecordKey(LOG, 0, each)) for each in rows), 0)
        for n, rows in enumerate(told)
    ]
    found = [each.offset for each in surviving(group, lambda image: image.offset in meant, apart_in(sets))]
    best = min(meant, default=-1)
    expected = [best] + [n for n in sorted(meant - {best}) if not any({best, n} <= rows for rows in told)]
    is_known = best == 0 or kind in ("same bytes", "same pixels")
    assert found == (expected if is_known and len(expected) > 1 else [])


def test_what_was_said_of_a_record_says_nothing_of_the_one_that_replaced_it() -> None:
    one, other = members(2)
    are_apart = apart_in([DistinctSet("x", ((one.id, record_of(one)), (other.id, record_of(other))), 0)])
    assert are_apart(one, other)
    assert not are_apart(one, Duplicate(other.id, LOG, 0, 99, 1, 10, 10, 100))


def test_a_run_that_is_wanted_while_one_goes_on_begins_when_that_one_has_ended(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that goes on may have begun before the change that somebody wants to see in the next one."""
    popen = subprocess.Popen
    script = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **_: popen(script, stdin=subprocess.PIPE))
    runs = DuplicateRuns(settings, clock=lambda: 1000.0)
    found = FoundDuplicates(
        run="1", index_id="x", generation=1, encoder="e", log=LOG, offsets={}, digest="d", count=0, max_distance=0.5,
        finished_at_ms=1_000_000, took_s=0.1, unknown=0, judged=0, unjudged=0, groups=[],
    )  # fmt: skip

    async def ask(*, at_once: bool) -> bool:
        if due := runs.is_due(found, "d", at_once=at_once):
            await runs.start(found.max_distance)
        return due

    async def end_it() -> None:
        child = runs._child
        assert child is not None and child.stdin is not None
        child.stdin.close()
        await asyncio.to_thread(child.wait)

    async def scenario() -> None:
        assert not await ask(at_once=False)
        assert await ask(at_once=True)
        first = runs._child
        assert await ask(at_once=True)
        assert runs._child is first
        await end_it()
        assert await ask(at_once=False)
        assert runs._child is not first
        await end_it()
        assert not await ask(at_once=False)

    asyncio.run(scenario())


def test_a_damaged_file_is_refused_and_a_missing_one_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    assert read_found(path) is None
    found = FoundDuplicates(
        run="r",
        index_id="i",
        generation=1,
        encoder="e",
        log=LOG,
        offsets={"0": 1},
        digest="d",
        count=2,
        max_distance=1.0,
        finished_at_ms=0,
        took_s=0.0,
        unknown=0,
        judged=0,
        unjudged=0,
        groups=[DuplicateGroup("near", members(2))],
    )
    write_found(path, found)
    assert read_found(path) == found
    path.write_bytes(path.read_bytes().replace(b"id-1", b"id-7"))
    with pytest.raises(IndexDamagedError, match="cannot be read"):
        read_found(path)


class ReadRecords:
    """What judging asks of `gallery.store.records.Records`, and which were asked for."""

    def __init__(self, count: int) -> None:
        self._records = [record(n, f"id-{n}", digit(n // 2)) for n in range(count)]
        self.asked: list[RecordKey] = []

    def read(self, keys: Sequence[RecordKey]) -> dict[RecordKey, ImageRecord]:
        self.asked += keys
        return {key: self._records[key.offset] for key in keys}


def test_pairs_are_judged_once_the_nearest_first_and_no_more_than_may_be(tmp_path: Path) -> None:
    records = ReadRecords(5)
    keys = [RecordKey(LOG, 0, n) for n in range(5)]
    pairs = [NearPair(1, 0, 0.1), NearPair(3, 2, 0.2), NearPair(4, 0, 0.3)]

    def judging(new_max: int) -> Judging:
        path = tmp_path / "known.verdicts"
        return Judging(records, keys, "digits", path, new_max=new_max, tell=lambda _: None)  # type: ignore[arg-type]

    first = judging(2)
    judged = first(pairs)
    assert {names: judgement.is_copy for names, judgement in judged.items()} == {(1, 0): True, (3, 2): True}
    assert (first.judged, first.unjudged) == (2, 1)
    records.asked.clear()
    second = judging(2)
    assert second(pairs)[4, 0].is_copy is False
    assert (second.judged, second.unjudged) == (3, 0)
    assert records.asked == [keys[0], keys[4]]
    (tmp_path / "known.verdicts").write_bytes(b"\xff none of ours")
    assert judging(9)(pairs).keys() == {(1, 0), (3, 2), (4, 0)}
