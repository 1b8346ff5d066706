"""How much an embedder takes at once: every record once and in order, and about a second's worth of them."""

from hypothesis import given
from hypothesis import strategies as st

from workers.embedder.pace import BATCH_S, FIRST_RECORDS, Pace, WaitingStretches
from workers.embedder.records import Record, Stretch, divided


def stretch(offsets: range) -> Stretch:
    records = [Record(0, n, n, 0, b"k", b"v" * n) for n in offsets]
    return Stretch(records, "images", 1, sum(1 + n for n in offsets), event=offsets.stop)


def offsets(stretch: Stretch) -> list[int]:
    return [record.offset for record in stretch.records]


@given(st.lists(st.integers(1, 12), max_size=12), st.lists(st.integers(1, 20), min_size=150, max_size=150))
def test_records_are_taken_once_in_order_and_an_event_ends_with_its_last(sizes: list[int], counts: list[int]) -> None:
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]

    waiting = WaitingStretches()
    for size, end in zip(sizes, ends, strict=True):
        waiting.put(stretch(range(end - size, end)))
    taken: list[list[Stretch]] = []
    while waiting:
        taken.append(waiting.take(counts[len(taken)]))
    assert [n for batch in taken for part in batch for n in offsets(part)] == list(range(sum(sizes)))
    for batch, count in zip(taken, counts, strict=False):
        assert sum(len(part.records) for part in batch) == count or batch is taken[-1]
    for part in (part for batch in taken for part in batch):
        assert part.size_bytes == sum(1 + n for n in offsets(part))
        last = offsets(part)[-1] + 1
        assert part.event == (last if last in ends else None)


def test_what_is_divided_off_a_stretch_waits_no_longer_where_faust_holds_it() -> None:
    held = stretch(range(5))
    head, tail = divided(held, 2)
    assert (offsets(head), offsets(tail), offsets(held)) == ([0, 1], [2, 3, 4], [2, 3, 4])


@given(st.floats(0.0005, 5.0))
def test_batches_come_to_last_about_a_second(record_s: float) -> None:
    pace = Pace(512)
    assert pace.count == FIRST_RECORDS
    for _ in range(12):
        pace.note(pace.count, pace.count * record_s)
    assert pace.count == max(1, min(512, int(BATCH_S / record_s))) or abs(pace.count * record_s - BATCH_S) < record_s


def test_a_batch_of_one_that_took_long_is_forgotten_soon() -> None:
    pace = Pace(512)
    pace.note(1, 8.0)
    assert pace.count == 1
    for _ in range(9):
        pace.note(pace.count, pace.count * 0.001)
    assert pace.count == 512
