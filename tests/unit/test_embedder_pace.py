"""How much an embedder takes at once: every record once and in order, and about a second's worth of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from workers.embedder.pace import BATCH_S, FIRST_RECORDS, Pace, Piece, Pieces
from workers.embedder.stretches import Reached, Stretch


def stretch(offsets: range) -> Stretch:
    records = [Reached(SimpleNamespace(offset=n, key=b"k", value=b"v" * n), n, is_expired=False) for n in offsets]
    return Stretch(records, 1, sum(1 + n for n in offsets))


def offsets(piece: Piece) -> list[int]:
    return [reached.record.offset for reached in piece.stretch.records]


@given(st.lists(st.integers(1, 12), max_size=12), st.lists(st.integers(1, 20), min_size=150, max_size=150))
def test_records_are_taken_once_in_order_and_an_event_ends_with_its_last(sizes: list[int], counts: list[int]) -> None:
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]

    async def run() -> list[list[Piece]]:
        fetched: asyncio.Queue[Any] = asyncio.Queue()
        for size, end in zip(sizes, ends, strict=True):
            fetched.put_nowait(
                SimpleNamespace(end=end, message=SimpleNamespace(stretch=stretch(range(end - size, end))))
            )
        pieces = Pieces(fetched)
        taken: list[list[Piece]] = []
        while sum(len(piece.stretch.records) for batch in taken for piece in batch) < sum(sizes):
            taken.append(await pieces.take(counts[len(taken)]))
        return taken

    taken = asyncio.run(run())
    assert [n for batch in taken for piece in batch for n in offsets(piece)] == list(range(sum(sizes)))
    for batch, count in zip(taken, counts, strict=False):
        assert sum(len(piece.stretch.records) for piece in batch) == count or batch is taken[-1]
    for piece in (piece for batch in taken for piece in batch):
        assert piece.stretch.size_bytes == sum(1 + n for n in offsets(piece))
        last = offsets(piece)[-1] + 1
        assert (piece.event.end if piece.event else None) == (last if last in ends else None)


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
