"""The way to Cassandra fails in the middle of writing: a write is done or refused in time, and goes on once the way is mended."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from tests.relay import ANSWERS, REQUESTS, Relay, Weather
from tests.waiting import wait_for

ENCODER = "links"
FAULTS: dict[str, Callable[[Relay], None]] = {
    "reset": Relay.reset,
    "cut": Relay.cut,
    "slow": lambda relay: setattr(relay, "weather", Weather(delay_s=0.02, bytes_per_s=100_000)),
    "requests held": lambda relay: setattr(relay, "weather", Weather(held=frozenset({REQUESTS}))),
    "answers held": lambda relay: setattr(relay, "weather", Weather(held=frozenset({ANSWERS}))),
}


@pytest.fixture
def relay(stack: Settings) -> Iterator[Relay]:
    with Relay(stack.cassandra_port) as relay:
        yield relay


@pytest.fixture
def store(stack: Settings, relay: Relay) -> Iterator[Store]:
    opened = Store.connect(stack.model_copy(update={"cassandra_port": relay.port}))
    yield opened
    relay.mend()
    opened.close()


def row(log: str, offset: int) -> FeedRow:
    return FeedRow(RecordKey(log, 0, offset), offset, "put", "", f"image/{offset}", b"\0\0\0\0", 1, metadata="")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_written_is_there_and_writing_goes_on(store: Store, relay: Relay, fault: str) -> None:
    written: list[int] = []
    ended = threading.Event()

    def write() -> None:
        for offset in range(100_000):
            if ended.is_set():
                return
            try:
                store.feed.write([row(fault, offset)], fingerprint=ENCODER)
            except DependencyError:
                ended.wait(0.05)
            else:
                written.append(offset)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: len(written) > 3 or None, 20)
        FAULTS[fault](relay)
        time.sleep(0.3)  # the fault itself
        relay.mend()
        before = len(written)
        wait_for(lambda: len(written) > before + 3 or None, 20)
    finally:
        ended.set()
        thread.join()
    there = {
        found.key.offset for found in store.feed.walk(RecordKey(fault, 0, 0), fingerprint=ENCODER, end_offset=10**6)
    }
    assert set(written) <= there


@pytest.mark.thorough
def test_a_connection_that_cassandra_forgot_is_given_up_within_30_s(store: Store, relay: Relay) -> None:
    store.feed.write([row("forgotten", 0)], fingerprint=ENCODER)
    relay.orphan()
    relay.mend()
    began_s = time.monotonic()

    def is_written() -> bool | None:
        try:
            store.feed.write([row("forgotten", 1)], fingerprint=ENCODER)
        except DependencyError:
            return None
        return True

    wait_for(is_written, 60)
    print(f"after {time.monotonic() - began_s:.1f} s")
    assert time.monotonic() - began_s < 30
