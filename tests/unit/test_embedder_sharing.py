"""How collections share one embedder: nobody starves, nobody holds everything, nobody is given what he does not know."""

import asyncio
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from workers.embedder.assignor import spread_over_members
from workers.embedder.sharing import HELD_BYTES_MAX, RECENT_S, SHARE_BYTES_MIN, Held, Turns

MIB = 1024 * 1024


class Collection:
    """Has so many batches of so many bytes to be given."""

    def __init__(self, batch_bytes: int, batches: int = 10**6) -> None:
        self.batch_bytes = batch_bytes
        self.batches = batches

    @property
    def is_ready(self) -> bool:
        return self.batches > 0


def turns_of(turns: Turns[Collection], times: int) -> list[Collection]:
    """Whose turn it is, so many times."""

    async def run() -> list[Collection]:
        chosen = []
        for _ in range(times):
            one = await turns.next()
            turns.take(one, one.batch_bytes)
            one.batches -= 1
            chosen.append(one)
        return chosen

    return asyncio.run(run())


def all_come(turns: Turns[Collection], collections: list[Collection]) -> None:
    for one in collections:
        has, one.batches = one.batches, 0
        turns.came(one)
        one.batches = has


@given(st.lists(st.integers(1, 50), min_size=2, max_size=6))
def test_who_is_ready_all_the_time_is_given_as_many_bytes_as_the_others(sizes: list[int]) -> None:
    turns: Turns[Collection] = Turns(lambda: 0.0)
    collections = [Collection(size) for size in sizes]
    all_come(turns, collections)
    chosen = turns_of(turns, 200)
    given_bytes = [one.batch_bytes * chosen.count(one) for one in collections]
    assert max(given_bytes) - min(given_bytes) <= 2 * max(sizes)


def test_who_comes_back_is_next_and_has_saved_up_no_turns() -> None:
    turns: Turns[Collection] = Turns(lambda: 0.0)
    busy, quiet = Collection(1000), Collection(1000, batches=1)
    all_come(turns, [busy, quiet])
    turns_of(turns, 100)
    all_come(turns, [quiet])
    quiet.batches = 50
    chosen = turns_of(turns, 20)
    assert quiet in chosen[:2]
    assert 9 <= chosen.count(quiet) <= 11


def test_a_collection_is_alone_once_the_others_had_nothing_for_some_seconds() -> None:
    now = count(0, RECENT_S)
    turns: Turns[Collection] = Turns(lambda: next(now))
    busy, quiet = Collection(1), Collection(1, batches=0)
    turns.came(busy)
    assert not turns.is_shared(busy)
    turns.came(quiet)
    assert not turns.is_shared(busy), "nothing came for longer than that"
    quiet.batches = 1
    assert turns.is_shared(busy), "what came long ago still waits"
    turns.forget(quiet)
    assert not turns.is_shared(busy)


def test_a_turn_waits_for_something_to_come() -> None:
    async def run() -> Collection:
        turns: Turns[Collection] = Turns(lambda: 0.0)
        waiting = asyncio.create_task(turns.next())
        await asyncio.sleep(0)
        one = Collection(1, batches=0)
        turns.came(one)
        one.batches = 1
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(run()).batches == 1


def test_a_topic_alone_may_hold_all_and_gives_way_to_others() -> None:
    held = Held()
    held.add("a", HELD_BYTES_MAX)
    assert held.full(["a", "b"]) == set()
    held.add("a", 1)
    assert held.full(["a", "b"]) == {"a"}
    held.remove("a", HELD_BYTES_MAX // 2)
    assert held.full(["a", "b"]) == set()
    held.add("b", 1)
    assert held.full(["a", "b"]) == {"a"}
    held.remove("b", 1)
    assert held.full(["a", "b"]) == set()


def test_nothing_is_fetched_while_all_hold_twice_as_much_together() -> None:
    held = Held()
    for topic in ("a", "b", "c"):
        held.add(topic, 2 * HELD_BYTES_MAX // 3 + 1)
    assert held.full(["a", "new"]) == {"a", "new"}
    held.clear()
    assert held.full(["a", "new"]) == set()


def test_many_that_share_have_room_for_something_each() -> None:
    held = Held()
    topics = [f"t{n}" for n in range(200)]
    for topic in topics:
        held.add(topic, 1)
    held.add("t7", SHARE_BYTES_MIN)
    assert held.full(topics) == {"t7"}


TOPICS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 6), min_size=1)


@given(st.data())
def test_each_partition_has_one_reader_that_knows_its_topic(data: st.DataObject) -> None:
    partitions = data.draw(TOPICS)
    members = data.draw(st.sets(st.sampled_from(["m1", "m2", "m3"]), min_size=1))
    subscriptions = {member: data.draw(st.sets(st.sampled_from(sorted(partitions)))) for member in sorted(members)}
    known = {topic for topics in subscriptions.values() for topic in topics}
    partitions = {topic: n for topic, n in partitions.items() if topic in known}
    before = {
        member: data.draw(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.integers(0, 7), max_size=5)))
        for member in sorted(members)
    }
    spread = spread_over_members(subscriptions, before, partitions)
    given_out = [(topic, p) for actives in spread.values() for topic, found in actives.items() for p in found]
    assert sorted(given_out) == sorted((topic, p) for topic, n in partitions.items() for p in range(n))
    for member, actives in spread.items():
        assert set(actives) <= subscriptions[member]
        for topic, found in actives.items():
            readers = sum(topic in topics for topics in subscriptions.values())
            assert len(found) <= -(-partitions[topic] // readers)


def test_topics_of_one_partition_are_spread_and_stay_where_they_are() -> None:
    partitions = {f"t{n:03}": 1 for n in range(200)}
    subscriptions = {"m1": set(partitions), "m2": set(partitions)}
    first = spread_over_members(subscriptions, {}, partitions)
    assert [sum(map(len, actives.values())) for actives in first.values()] == [100, 100]
    assert spread_over_members(subscriptions, first, partitions) == first
    joined = spread_over_members({**subscriptions, "m3": set(partitions)}, first, partitions)
    assert sorted(sum(map(len, actives.values())) for actives in joined.values()) == [66, 67, 67]
    moved = sum(topic not in joined[member] for member, actives in first.items() for topic in actives)
    assert moved == len(joined["m3"])
