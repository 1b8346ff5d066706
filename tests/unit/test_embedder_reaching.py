"""From which position a record was reached: never one behind it."""

from dataclasses import dataclass

import pytest

from contract.errors import ConfigurationError
from workers.embedder.records import LOG_APPEND_TIME, reached_from


@dataclass
class Fetched:
    """What is read of aiokafka's record."""

    offset: int
    timestamp_type: int = LOG_APPEND_TIME
    topic: str = "images"
    partition: int = 3
    timestamp: int = 1_700_000_000_000
    key: bytes | None = b"a"
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = (("h", b""),)


def places(after: int, *offsets: int) -> list[tuple[int, int]]:
    return [(found.offset, found.after) for found in reached_from(after, map(Fetched, offsets))]


def test_each_record_is_reached_from_behind_the_one_before() -> None:
    assert places(7, 7, 8, 11) == [(7, 7), (8, 8), (11, 9)]


def test_a_hole_in_front_is_told() -> None:
    assert places(7, 9) == [(9, 7)]


def test_what_a_rebalance_has_fetched_from_before_the_seek_is_left_out() -> None:
    assert places(152, 148, 149, 150, 151, 152, 153) == [(152, 152), (153, 153)]
    assert places(152, 148, 149) == []


def test_a_record_is_taken_over_as_it_was_fetched() -> None:
    (record,) = reached_from(7, [Fetched(9)])
    assert record == (3, 9, 7, 1_700_000_000_000, b"a", None, (("h", b""),), False, False)


def test_a_record_with_its_producers_time_is_refused_unless_it_is_in_the_feed_already() -> None:
    with pytest.raises(ConfigurationError, match=r"Record 7 of images-3 carries its producer's time"):
        reached_from(7, [Fetched(6, timestamp_type=0), Fetched(7, timestamp_type=0)])
    assert reached_from(8, [Fetched(7, timestamp_type=0)]) == []
