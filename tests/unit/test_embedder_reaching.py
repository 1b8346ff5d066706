"""From which position a record was reached: never one behind it."""

from typing import NamedTuple

from workers.embedder.stretches import reached_from


class Fetched(NamedTuple):
    offset: int


def places(after: int, *offsets: int) -> list[tuple[int, int]]:
    return [(found.record.offset, found.after) for found in reached_from(after, map(Fetched, offsets))]


def test_each_record_is_reached_from_behind_the_one_before() -> None:
    assert places(7, 7, 8, 11) == [(7, 7), (8, 8), (11, 9)]


def test_a_hole_in_front_is_told() -> None:
    assert places(7, 9) == [(9, 7)]


def test_what_a_rebalance_has_fetched_from_before_the_seek_is_left_out() -> None:
    assert places(152, 148, 149, 150, 151, 152, 153) == [(152, 152), (153, 153)]
    assert places(152, 148, 149) == []
