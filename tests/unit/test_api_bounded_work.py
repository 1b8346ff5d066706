"""Work that blocks: on the event loop while it is quick, else in threads, of which a bounded number runs and waits."""

import asyncio
import threading
import time

import pytest

from api.answers.bounded_work import TIMED, BoundedWork
from api.answers.problems import ProblemError

QUICK_S = 0.001


def quick() -> int:
    return threading.get_ident()


def slow() -> int:
    time.sleep(3 * QUICK_S)
    return threading.get_ident()


def test_work_that_was_quick_is_done_on_the_event_loop_and_goes_to_threads_once_it_is_not() -> None:
    async def run() -> list[int]:
        bounded = BoundedWork(running_max=2, waiting_max=2, quick_s=QUICK_S)
        return [(await bounded.run(work))[0] for work in [quick] * TIMED + [slow] * (TIMED + 5) + [quick] * 2]

    here = threading.get_ident()
    threads = asyncio.run(run())
    assert here != threads[0]  # nothing is known of the first
    assert set(threads[1 : 2 * TIMED]) == {here}
    assert here not in threads[2 * TIMED : -1]
    assert here == threads[-1]


def test_work_that_may_wait_for_others_stays_in_threads_however_quick_it_was() -> None:
    async def run() -> list[int]:
        bounded = BoundedWork(running_max=1, waiting_max=1)
        return [(await bounded.run(quick))[0] for _ in range(2 * TIMED)]

    assert threading.get_ident() not in asyncio.run(run())


def test_slow_work_leaves_the_event_loop_free() -> None:
    async def run() -> int:
        bounded, turns = BoundedWork(running_max=1, waiting_max=1, quick_s=QUICK_S), 0
        work = asyncio.create_task(bounded.run(lambda: time.sleep(0.2)))
        while not work.done():
            turns += 1
            await asyncio.sleep(0.001)
        return turns

    assert asyncio.run(run()) > 10


def test_more_than_may_wait_are_told_to_come_again() -> None:
    async def run() -> list[tuple[None, float] | BaseException]:
        bounded = BoundedWork(running_max=1, waiting_max=2)
        return await asyncio.gather(*(bounded.run(lambda: time.sleep(0.05)) for _ in range(5)), return_exceptions=True)

    refused = [answer for answer in asyncio.run(run()) if isinstance(answer, BaseException)]
    assert len(refused) == 2
    for error in refused:
        with pytest.raises(ProblemError, match="try again later"):
            raise error


def test_an_error_of_the_work_is_the_callers() -> None:
    async def run(times: int) -> None:
        bounded = BoundedWork(running_max=1, waiting_max=1, quick_s=QUICK_S)
        for _ in range(times):
            await bounded.run(quick)
        await bounded.run(lambda: 1 // 0)

    for times in (0, 2):  # in a thread, and on the event loop
        with pytest.raises(ZeroDivisionError):
            asyncio.run(run(times))
