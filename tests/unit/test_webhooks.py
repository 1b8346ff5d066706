"""Webhooks: signed, retried, never redirected, never to private addresses unless allowed; a dead one delays nobody."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gallery.store.watches import StoredWatch, WatchStart
from runtime.outbound import Outbound, Resolve, resolved
from tests.api_gallery import free_port
from tests.receiver import Receiver, is_signed
from tests.waiting import wait_for
from topics.matches import MatchSource, NumberedMatch, WatchMatch
from workers.watcher.delivery import send, signature
from workers.watcher.webhooks import Lanes, Webhooks


def post(address: str, *, allow_private: bool = True, attempt_s: float = 5.0, resolve: Resolve = resolved) -> str:
    outbound = Outbound(allow_private=allow_private, timeout_s=attempt_s, resolve=resolve)
    return send(outbound, address, b"{}", secret="s", time_s=7)


def test_a_message_is_signed_and_another_secret_time_or_body_shows() -> None:
    with Receiver() as receiver:
        assert post(receiver.address) == ""
        ((header, body),) = receiver.taken
    assert header.startswith("t=7,v1=")
    assert is_signed((header, body), "s")
    assert not is_signed((header, body), "S")
    assert not is_signed((header, body + b" "), "s")
    assert not is_signed((header.replace("t=7", "t=8"), body), "s")
    assert signature("s", b"{}", 7) == header


def test_a_redirect_is_a_failure_and_is_not_followed() -> None:
    with Receiver() as other, Receiver((302, 307), location=other.address) as receiver:
        assert post(receiver.address) == "status 302"
        assert post(receiver.address) == "status 307"
        assert other.posts == []


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "0x7f.0.0.1", "2130706433"]
)
def test_this_machine_is_not_reached_under_any_name(host: str) -> None:
    with Receiver() as receiver:
        port = receiver.address.rsplit(":", 1)[1]
        assert post(f"http://{host}:{port}", allow_private=False) != ""
        assert receiver.posts == []


def test_a_name_is_resolved_once_and_every_answer_counts() -> None:
    with Receiver() as receiver:
        port = receiver.address.rsplit(":", 1)[1]
        asked = []

        def rebinding(host: str, port: int) -> list[str]:
            asked.append(host)
            return ["8.8.8.8", "127.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

        assert post(f"http://rebind.test:{port}", allow_private=False, resolve=rebinding).startswith(
            "forbidden-address"
        )
        assert len(asked) == 1
        assert post(f"http://any.test:{port}", resolve=lambda *_: ["127.0.0.1"]) == ""


def test_a_receiver_that_says_nothing_is_left_in_time() -> None:
    stall = threading.Event()
    with Receiver(stall=stall) as receiver:
        began = time.monotonic()
        assert post(receiver.address, attempt_s=0.3) != ""
        assert time.monotonic() - began < 5
        stall.set()
    assert post(f"http://127.0.0.1:{free_port()}") != ""
    assert post("http://127.0.0.1:99999") != ""
    assert post("http://[::bad", allow_private=False) != ""


class Table:
    """What `Webhooks` stores."""

    def __init__(self) -> None:
        self.from_offset: dict[str, int] = {}
        self.behind = 0

    def tell_from(self, _: str, told_from: dict[str, int]) -> None:
        self.from_offset |= told_from

    def progress(self, _: str) -> dict[tuple[str, int], int]:
        return {("images.matches", 0): self.behind}

    def note_progress(self, _: str, progress: dict[tuple[str, int], int]) -> None:
        self.behind = progress["images.matches", 0]


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.s = 1_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.close()


def watch(watch_id: str, told_from: int = 0) -> StoredWatch:
    return StoredWatch(
        topic="images",
        id=watch_id,
        name="",
        embedding=b"",
        encoder="",
        max_distance=0,
        webhook=f"http://{watch_id}",
        start=WatchStart("", {}),
        created_at_ms=1,
        told_from=told_from,
    )


def match(offset: int, watch_id: str) -> NumberedMatch:
    source = MatchSource("images:x", 0, offset, 1)
    return NumberedMatch(
        offset, WatchMatch(f"m{offset}", watch_id, "", "default", "i", 0.0, source, None, 1_000_000_000)
    )


def make(table: Table, lanes: Lanes, clock: Clock, send_to: object) -> Webhooks:
    return Webhooks(
        topic="images",
        name="images.matches",
        watches=table,  # type: ignore[arg-type]
        lanes=lanes,
        send=send_to,  # type: ignore[arg-type]
        retry_s=3600.0,
        clock=clock,
        now=clock,
    )


def pump(webhooks: Webhooks, clock: Clock, watches: dict[str, StoredWatch]) -> None:
    clock.s += 0.1
    webhooks.pump(watches)


def pump_until(
    holds: Callable[[], bool], webhooks: Webhooks, clock: Clock, watches: dict[str, StoredWatch], step_s: float = 0.1
) -> None:
    def go_on() -> bool | None:
        clock.s += step_s
        webhooks.pump(watches)
        return holds() or None

    wait_for(go_on)


def test_a_dead_receiver_is_tried_again_ever_later_and_delays_no_other(lanes: Lanes) -> None:
    table, clock, tried, got = Table(), Clock(), [], []
    hanging = threading.Event()

    def send_to(watch: StoredWatch, body: bytes) -> str:
        if watch.id == "dead":
            tried.append(clock.s)
            return "dead"
        if watch.id == "hanging":
            hanging.wait(20)
            return "hung"
        got.append(body)
        return ""

    watches = {each: watch(each) for each in ("dead", "hanging", "well")}
    webhooks = make(table, lanes, clock, send_to)
    webhooks.begin(lambda _: [], watches)
    webhooks.offer([match(n, each) for n, each in enumerate(["dead", "hanging", *["well"] * 20])], watches)
    pump_until(lambda: len(got) == 20, webhooks, clock, watches)
    assert [b'"id":"m%d"' % n in body for n, body in enumerate(got, 2)] == [True] * 20  # in order
    pump_until(lambda: len(tried) >= 5, webhooks, clock, watches, step_s=0.5)
    pauses = [later - sooner for sooner, later in itertools.pairwise(tried)]
    assert all(later > 1.4 * sooner for sooner, later in itertools.pairwise(pauses)), pauses
    hanging.set()
    pump_until(lambda: table.from_offset.get("well") == 22, webhooks, clock, watches)
    assert table.behind == 0  # two still lack theirs


def test_what_is_too_old_is_given_up_and_the_next_goes_on(lanes: Lanes) -> None:
    table, clock, alive, got = Table(), Clock(), threading.Event(), []

    def send_to(_: StoredWatch, body: bytes) -> str:
        got.append(body)
        return "" if alive.is_set() else "dead"

    watches = {"a": watch("a")}
    webhooks = make(table, lanes, clock, send_to)
    webhooks.begin(lambda _: [], watches)
    webhooks.offer([match(0, "a")], watches)
    clock.s += 3700
    pump_until(lambda: table.from_offset.get("a") == 1, webhooks, clock, watches)
    alive.set()
    webhooks.offer([match(1, "a")], watches)
    pump_until(lambda: table.from_offset.get("a") == 2, webhooks, clock, watches)
    clock.s += 10
    pump(webhooks, clock, watches)
    assert table.behind == 2


def test_a_new_process_sends_what_an_earlier_one_had_not_and_nothing_else(lanes: Lanes) -> None:
    table, clock, got = Table(), Clock(), []
    table.behind = 3
    stored = [match(n, each) for n, each in enumerate("aaabab")]

    def send_to(_: StoredWatch, body: bytes) -> str:
        got.append(body)
        return ""

    watches = {"a": watch("a", told_from=5), "b": watch("b", told_from=0)}
    webhooks = make(table, lanes, clock, send_to)
    webhooks.begin(lambda offset: stored[offset:], watches)
    pump_until(lambda: table.from_offset == {"b": 6}, webhooks, clock, watches)
    assert len(got) == 2  # of b those at 3 and 5; of a the one at 4 was taken before
    clock.s += 10
    pump(webhooks, clock, watches)
    assert table.behind == 6


def test_of_a_deleted_watch_nothing_more_is_sent(lanes: Lanes) -> None:
    table, clock, tried = Table(), Clock(), []
    watches = {"a": watch("a")}

    def send_to(_: StoredWatch, __: bytes) -> str:
        tried.append(1)
        return "dead"

    webhooks = make(table, lanes, clock, send_to)
    webhooks.begin(lambda _: [], watches)
    webhooks.offer([match(0, "a")], watches)
    pump_until(lambda: len(tried) == 1, webhooks, clock, watches)
    clock.s += 10
    pump_until(lambda: not webhooks._receivers, webhooks, clock, {})
    count = len(tried)
    clock.s += 5000
    pump(webhooks, clock, {})
    assert len(tried) == count
