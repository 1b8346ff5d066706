"""Who asks for little does not wait behind who asks for much, and when all is full the one with most gives way."""

import random
from collections import Counter

import pytest

from api.answers.fair_queue import FairQueue
from api.answers.problems import ProblemError


def order(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_clients_take_turns_and_each_ones_things_stay_in_order() -> None:
    queue = FairQueue[str](100, 1e9)
    for n in range(4):
        queue.put(f"a{n}", "a", 10)
    for n in range(2):
        queue.put(f"b{n}", "b", 10)
    assert order(queue) == ["a0", "b0", "a1", "b1", "a2", "a3"]


def test_one_that_asks_for_little_waits_for_one_thing_of_each_other_at_most() -> None:
    queue = FairQueue[str](100, 1e9)
    for client in "abc":
        for n in range(10):
            queue.put(f"{client}{n}", client, 1000)
    assert [queue.pop() for _ in range(4)] == ["a0", "b0", "c0", "a1"]
    queue.put("small", "d", 1)
    assert "small" in [queue.pop() for _ in range(4)]


def test_who_was_away_has_saved_nothing_up() -> None:
    queue = FairQueue[str](1000, 1e9)
    for n in range(100):
        queue.put(f"a{n}", "a", 10)
        queue.put(f"c{n}", "c", 10)
    for _ in range(100):
        queue.pop()
    for n in range(100):
        queue.put(f"b{n}", "b", 10)
    first = Counter(each[0] for each in order(queue)[:60])
    assert all(15 <= first[client] <= 25 for client in "abc"), first


def test_when_it_is_full_the_client_with_most_gives_up_its_newest_for_one_with_less() -> None:
    queue = FairQueue[str](4, 1e9)
    for n in range(4):
        assert queue.put(f"a{n}", "a", 10) == []
    assert queue.put("b0", "b", 10) == ["a3"]
    with pytest.raises(ProblemError, match="with fewer at once") as refused:
        queue.put("a4", "a", 10)
    assert (refused.value.status, refused.value.code, refused.value.headers) == (
        429,
        "over-share",
        {"Retry-After": "1"},
    )
    assert queue.put("b1", "b", 10) == ["a2"]
    with pytest.raises(ProblemError) as busy:
        queue.put("b2", "b", 10)  # both have as much by now
    assert (busy.value.status, busy.value.headers) == (503, {"Retry-After": "1"})
    assert order(queue) == ["a0", "b0", "a1", "b1"]


def test_one_alone_that_fills_it_is_told_that_it_is_full() -> None:
    queue = FairQueue[str](2, 1e9)
    queue.put("a0", "a", 10)
    queue.put("a1", "a", 10)
    with pytest.raises(ProblemError, match="try again") as refused:
        queue.put("a2", "a", 10)
    assert (refused.value.status, refused.value.code) == (503, "busy")


def test_it_is_full_by_cost_too_but_takes_one_that_costs_more_than_all_may() -> None:
    queue = FairQueue[str](100, 100)
    assert queue.put("huge", "a", 500) == []
    assert queue.put("small", "b", 1) == ["huge"]
    queue.put("more", "b", 90)
    assert queue.put("c", "c", 20) == ["more"]
    with pytest.raises(ProblemError):
        queue.put("d", "d", 500)
    assert order(queue) == ["small", "c"]


def test_whatever_comes_and_goes_it_stays_within_its_bounds_and_loses_nothing(chance: random.Random) -> None:
    queue, left = FairQueue[int](20, 1000), Counter[str]()
    inside: set[int] = set()
    for number in range(5000):
        if chance.random() < 0.6:
            cost = chance.choice([1, 10, 100, 900])
            try:
                given_up = queue.put(number, chance.choice("abcdef"), cost)
            except ProblemError as refused:
                left[refused.code] += 1
            else:
                assert set(given_up) <= inside
                inside -= set(given_up)
                inside.add(number)
        elif queue:
            first, _ = queue.first()
            assert queue.pop() == first
            inside.remove(first)
        assert len(queue) == len(inside) <= 20
    assert set(left) == {"busy", "over-share"}
    assert {queue.pop() for _ in range(len(queue))} == inside
