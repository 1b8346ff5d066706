"""What is kept of earlier records answers every earlier time that the floor allows, as the whole list of records would."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gallery.generations.fold import Position
from gallery.generations.history import AsOf, Floor, due, first_replaced_ms, highest

PARTITIONS = 3
NEWEST_LOG = 1

Record = tuple[int, Position]


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Of two logs with a few partitions each, as the fold places them: times step back and are equal at will."""
    found = []
    for log in range(NEWEST_LOG + 1):
        for partition in range(PARTITIONS):
            effective = 0
            drawn = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=6)
            for offset, (number, time_ms) in enumerate(draw(drawn)):
                effective = max(effective, time_ms)
                found.append((number, Position(log, effective, partition, offset, time_ms)))
    return draw(st.permutations(found))


def as_of_anything() -> st.SearchStrategy[AsOf]:
    offsets = st.dictionaries(st.integers(0, PARTITIONS), st.integers(0, 7))
    by_offsets = offsets.map(lambda found: AsOf(offsets=tuple(sorted(found.items()))))
    return by_offsets | st.integers(0, 10).map(lambda time_ms: AsOf(time_ms=time_ms))


def counts(as_of: AsOf, position: Position) -> bool:
    if as_of.time_ms is not None:
        return position.effective_ms <= as_of.time_ms
    is_earlier = position.log_number < NEWEST_LOG
    return is_earlier or position.offset < dict(as_of.offsets).get(position.partition, 0)


def oracle(found: list[Record], as_of: AsOf) -> dict[int, Position]:
    meant: dict[int, Position] = {}
    for number, position in found:
        if counts(as_of, position) and (number not in meant or position > meant[number]):
            meant[number] = position
    return meant


def meaning(found: list[Record], as_of: AsOf) -> dict[int, Position]:
    ids, positions = arrays(found)
    counted = np.flatnonzero(as_of.includes(positions, NEWEST_LOG))
    return {found[n][0]: found[n][1] for n in counted[highest(ids[counted], positions[counted])].tolist()}


def arrays(found: list[Record]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array([number for number, _ in found], np.int64)
    return ids, np.array([position for _, position in found], np.int64).reshape(-1, 5)


@given(records(), as_of_anything())
def test_an_id_means_its_highest_record_that_counts(found: list[Record], as_of: AsOf) -> None:
    assert meaning(found, as_of) == oracle(found, as_of)


@given(records(), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=4), as_of_anything())
def test_what_is_kept_answers_all_that_the_floor_allows(
    found: list[Record], cuts: list[tuple[int, int]], as_of: AsOf
) -> None:
    kept: list[Record] = []
    floor, taken = Floor(), 0
    for end, horizon_ms in [*sorted(cuts), (len(found), 0)]:
        kept += found[taken:end]
        taken = max(taken, end)
        ids, positions = arrays(kept)
        is_due, tops = due(ids, positions, horizon_ms=horizon_ms)
        floor = Floor.of_array(floor.raised(positions[tops]).as_array())
        kept = [record for record, drop in zip(kept, is_due.tolist(), strict=True) if not drop]
        now = AsOf(time_ms=10**6)
        assert meaning(kept, now) == oracle(found[:taken], now)
        if floor.allows(as_of, NEWEST_LOG):
            assert meaning(kept, as_of) == oracle(found[:taken], as_of)


@given(records(), st.integers(0, 10))
def test_only_what_an_older_record_replaced_is_dropped(found: list[Record], horizon_ms: int) -> None:
    ids, positions = arrays(found)
    is_due, _ = due(ids, positions, horizon_ms=horizon_ms)
    expected = [
        any(other == number and above > place and above.effective_ms <= horizon_ms for other, above in found)
        for number, place in found
    ]
    assert is_due.tolist() == expected


@given(records(), st.integers(0, 10))
def test_what_is_overdue_is_due(found: list[Record], horizon_ms: int) -> None:
    oldest_ms = first_replaced_ms(*arrays(found))
    is_due, _ = due(*arrays(found), horizon_ms=horizon_ms)
    if oldest_ms is not None and oldest_ms <= horizon_ms:
        assert is_due.any()
    left = [record for record, drop in zip(found, is_due.tolist(), strict=True) if not drop]
    left_ms = first_replaced_ms(*arrays(left))
    assert left_ms is None or left_ms > horizon_ms


def test_where_nothing_was_dropped_anything_can_be_asked() -> None:
    assert Floor().allows(AsOf(), 0)
    assert Floor().allows(AsOf(time_ms=0), 0)
