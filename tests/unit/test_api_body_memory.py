"""Memory for large bodies: never more than there is, in the order of those who came, and nothing is lost of it."""

import asyncio
import random

import pytest

from api.answers.problems import ProblemError
from api.routes.body_memory import CLIENT_WAITING_MAX, BodyMemory

SIZE_BYTES = 100


def test_memory_is_never_overbooked_and_whole_again_whoever_gives_up(chance: random.Random) -> None:
    held = 0

    async def hold(memory: BodyMemory, size_bytes: int, turns: int, patience_s: float) -> None:
        nonlocal held
        try:
            async with asyncio.timeout(patience_s):
                await memory.take(size_bytes)
        except (TimeoutError, ProblemError):
            return
        held += size_bytes
        assert held <= SIZE_BYTES
        for _ in range(turns):
            await asyncio.sleep(0)
        held -= size_bytes
        memory.give_back(size_bytes)

    async def run() -> None:
        memory = BodyMemory(SIZE_BYTES, wait_s_max=0.02)
        sizes = [chance.choice([1, 10, 50, SIZE_BYTES]) for _ in range(400)]
        await asyncio.gather(
            *(hold(memory, size, chance.randrange(200), chance.choice([0.0, 0.005, 1.0])) for size in sizes)
        )
        await asyncio.wait_for(memory.take(SIZE_BYTES), 1)

    asyncio.run(run())
    assert held == 0


def test_whoever_came_first_goes_first_however_small_the_next_is() -> None:
    async def run() -> list[int]:
        memory, order = BodyMemory(SIZE_BYTES), []

        async def hold(size_bytes: int) -> None:
            await memory.take(size_bytes)
            order.append(size_bytes)
            await asyncio.sleep(0)
            memory.give_back(size_bytes)

        await asyncio.gather(*(hold(size) for size in (60, SIZE_BYTES, 1, 2)))
        return order

    assert asyncio.run(run()) == [60, SIZE_BYTES, 1, 2]


def test_who_waits_too_long_is_told_to_come_again() -> None:
    async def run() -> None:
        memory = BodyMemory(SIZE_BYTES, wait_s_max=0.01)
        await memory.take(SIZE_BYTES)
        with pytest.raises(ProblemError, match="try again later") as refused:
            await memory.take(1)
        assert (refused.value.status, refused.value.code, refused.value.headers) == (503, "busy", {"Retry-After": "1"})

    asyncio.run(run())


def test_a_client_with_its_share_lets_others_pass_and_is_refused_when_too_many_of_its_own_wait() -> None:
    async def run() -> None:
        memory, order = BodyMemory(SIZE_BYTES, wait_s_max=5), []

        async def hold(client: str, size_bytes: int) -> None:
            await memory.take(size_bytes, client)
            order.append(client)
            await asyncio.sleep(0.01)
            memory.give_back(size_bytes, client)

        greedy = [asyncio.create_task(hold("greedy", 31)) for _ in range(1 + CLIENT_WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(ProblemError, match="with fewer at once") as refused:
            await memory.take(31, "greedy")
        assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "5"})
        await asyncio.gather(*greedy, *(hold(name, 31) for name in ("a", "b")))
        assert order[:3] == ["greedy", "a", "b"]
        await asyncio.wait_for(memory.take(SIZE_BYTES, "greedy"), 1)  # all is free again, and one body may be as large

    asyncio.run(run())
