"""The fold gives one gallery whatever the order in which partitions are read."""

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from contract.record_key import RecordKey
from gallery.generations.fold import Fold, Position
from gallery.store.rows import FeedRow


def row(partition: int, offset: int, image_id: str, outcome: str, time_ms: int, after: int | None = None) -> FeedRow:
    embedding = bytes([partition, offset % 256]) * 256 if outcome == "put" else None
    reason = "corrupt" if outcome == "reject" else ""
    begin = offset if after is None else after
    return FeedRow(RecordKey("log", partition, offset), begin, outcome, reason, image_id, embedding, time_ms)  # type: ignore[arg-type]


def fold_all(rows: list[FeedRow]) -> tuple[dict[str, tuple[Position, bytes | None]], Fold]:
    gallery: dict[str, tuple[Position, bytes | None]] = {}
    fold = Fold(lambda image_id: gallery[image_id][0] if image_id in gallery else None)
    for _, run in groupby(rows, key=lambda r: r.key.partition):
        part = list(run)
        for entry in fold.add(0, part[0].key.partition, part):
            if not entry.is_late:
                gallery[entry.image_id] = (entry.position, entry.embedding)
    return gallery, fold


def oracle(rows: list[FeedRow]) -> dict[str, tuple[Position, bytes | None]]:
    """Sort all records by the rule and let the last one of each id win."""
    placed = []
    for partition in {r.key.partition for r in rows}:
        effective = 0
        for r in sorted((r for r in rows if r.key.partition == partition), key=lambda r: r.key.offset):
            effective = max(effective, r.kafka_time_ms)
            if r.outcome != "reject":
                placed.append((Position(0, effective, partition, r.key.offset, r.kafka_time_ms), r))
    return {r.image_id: (position, r.embedding) for position, r in sorted(placed, key=lambda p: p[0])}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[FeedRow], list[FeedRow]]:
    """Two interleavings of the same records on three partitions, clocks stepping back at will."""
    partitions = []
    for partition in range(3):
        records = draw(
            st.lists(
                st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "delete", "reject"]), st.integers(1, 6)),
                max_size=8,
            )
        )
        partitions.append([row(partition, o, *record) for o, record in enumerate(records)])
    interleavings = []
    for _ in range(2):
        left = [list(records) for records in partitions]
        order = []
        while any(left):
            order.append(draw(st.sampled_from([records for records in left if records])).pop(0))
        interleavings.append(order)
    return interleavings[0], interleavings[1]


@given(histories())
def test_any_interleaving_of_partitions_gives_the_gallery_of_the_rule(
    both: tuple[list[FeedRow], list[FeedRow]],
) -> None:
    one, other = both
    assert fold_all(one)[0] == fold_all(other)[0] == oracle(one)


@given(histories())
def test_folding_everything_a_second_time_changes_nothing(both: tuple[list[FeedRow], list[FeedRow]]) -> None:
    once, _ = both
    assert fold_all(once)[0] == fold_all(once + once)[0]


def test_put_and_delete_on_two_partitions_agree_in_both_orders() -> None:
    put, delete = row(0, 0, "a", "put", 5), row(1, 0, "a", "delete", 6)
    assert fold_all([put, delete])[0] == fold_all([delete, put])[0]
    assert fold_all([put, delete])[0]["a"][1] is None


def test_of_5000_records_of_one_id_within_one_millisecond_the_last_offset_wins() -> None:
    gallery, _ = fold_all([row(0, offset, "a", "put", 7) for offset in range(5000)])
    assert gallery["a"][0].offset == 4999


def test_clock_stepping_back_does_not_bring_an_older_record_back() -> None:
    gallery, _ = fold_all([row(0, 0, "a", "put", 100), row(0, 1, "a", "delete", 50)])
    assert gallery["a"][1] is None


def test_fold_stops_at_a_gap_and_goes_on_when_it_is_filled() -> None:
    first, second, third = (row(0, offset, name, "put", 1) for offset, name in enumerate("abc"))
    _, fold = fold_all([first, third])
    assert fold.progress[0, 0].next_offset == 1
    assert [entry.image_id for entry in fold.add(0, 0, [second, third])] == ["b", "c"]


def test_hole_that_the_next_row_proves_empty_is_passed() -> None:
    _, fold = fold_all([row(0, 0, "a", "put", 1), row(0, 9, "b", "put", 1, after=1)])
    assert fold.progress[0, 0].next_offset == 10


def test_expired_offsets_and_rejects_are_counted() -> None:
    expired = FeedRow(RecordKey("log", 0, 100), 0, "reject", "corrupt expired-before", "a", None, 1)
    _, fold = fold_all([expired])
    assert fold.expired == 100
    assert fold.rejected == {"corrupt": 1}


@given(histories())
def test_all_puts_and_deletes_are_handed_on_once_with_whether_they_came_late(
    both: tuple[list[FeedRow], list[FeedRow]],
) -> None:
    rows, _ = both
    highest: dict[str, Position] = {}
    fold, handed_on = Fold(lambda image_id: highest.get(image_id)), []
    for row in rows:
        for entry in fold.add(0, row.key.partition, [row]):
            handed_on.append((entry.position.partition, entry.position.offset))
            assert entry.is_late == (entry.image_id in highest and highest[entry.image_id] > entry.position)
            highest[entry.image_id] = max(entry.position, highest.get(entry.image_id, entry.position))
    assert handed_on == [(r.key.partition, r.key.offset) for r in rows if r.outcome != "reject"]
