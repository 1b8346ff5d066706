"""Sends matches to webhooks, each again until it is taken or too old, in order for each watch.

Nothing is kept but where each watch's webhook goes on among the matches (`StoredWatch.told_from`), and an offset below which no
webhook lacks anything: what was being sent when the process was killed is read from the topic again.
"""

import queue
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import structlog

from contract import telemetry
from gallery.store.watches import StoredWatch, Watches
from runtime.failpoints import failpoint
from topics.matches import NumberedMatch

BACKOFF_S_MIN = 1.0
BACKOFF_S_MAX = 3600.0
# Receivers that failed last, or took longer than this, are tried in threads of their own: the others never wait for them.
QUICK_S = 1.0
LANE_THREADS = 16
# What one receiver has waiting at most, some 5 MB; the oldest are given up beyond that.
WAITING_MAX = 10_000
NOTE_INTERVAL_S = 5.0
PUMP_INTERVAL_S = 0.05

logger = structlog.get_logger()
# Sends a body to a watch's webhook: "" when it was taken, else why not.
Send = Callable[[StoredWatch, bytes], str]


class Lanes:
    """The threads that send: those for receivers that answer at once, and those for the others."""

    def __init__(self) -> None:
        self.quick = ThreadPoolExecutor(LANE_THREADS, thread_name_prefix="webhooks")
        self.slow = ThreadPoolExecutor(LANE_THREADS, thread_name_prefix="slow webhooks")

    def close(self) -> None:
        """End without waiting for receivers."""
        for pool in (self.quick, self.slow):
            pool.shutdown(wait=False, cancel_futures=True)


class _Attempt(NamedTuple):
    watch_id: str
    offset: int
    failure: str
    took_s: float


@dataclass
class _Receiver:
    """One watch's webhook, and what waits for it."""

    watch: StoredWatch
    waiting: deque[NumberedMatch] = field(default_factory=deque)
    failures: int = 0
    due_s: float = 0.0
    is_quick: bool = True
    is_sending: bool = False


class Webhooks:
    """The webhooks of one collection. Used by one thread; the attempts run in others.

    Args:
        name: the row of the progress: the topic of the matches.
        retry_s: how old a match may be when it is tried for the last time.
        clock: seconds that only go forward; `now` are seconds since 1970.
    """

    def __init__(
        self,
        *,
        topic: str,
        name: str,
        watches: Watches,
        lanes: Lanes,
        send: Send,
        retry_s: float,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._topic, self._name, self._table, self._lanes, self._send = topic, name, watches, lanes, send
        self._retry_s, self._clock, self._now = retry_s, clock, now
        self._receivers: dict[str, _Receiver] = {}
        self._told_from: dict[str, int] = {}
        self._done: queue.SimpleQueue[_Attempt] = queue.SimpleQueue()
        self._behind = self._noted = -1
        self._pumped = self._noted_at = float("-inf")

    def begin(self, read_from: Callable[[int], Iterable[NumberedMatch]], watches: Mapping[str, StoredWatch]) -> None:
        """Take up what an earlier process left: `read_from` gives the matches from an offset on."""
        self._receivers = {}
        self._noted = self._behind = self._table.progress(self._topic).get((self._name, 0), 0)
        self.offer(read_from(self._noted), watches)

    def offer(self, matches: Iterable[NumberedMatch], watches: Mapping[str, StoredWatch]) -> None:
        """Have matches sent to the webhooks of their watches."""
        for numbered in matches:
            self._behind = max(self._behind, numbered.offset + 1)
            watch = watches.get(numbered.match.watch)
            if watch is None or not watch.webhook:
                continue
            if numbered.offset < max(self._told_from.get(watch.id, 0), watch.told_from or 0):
                continue
            receiver = self._receivers.setdefault(watch.id, _Receiver(watch))
            receiver.waiting.append(numbered)
            if len(receiver.waiting) > WAITING_MAX and not receiver.is_sending:
                receiver.waiting.popleft()
                telemetry.WEBHOOKS.labels("given up").inc()

    def pump(self, watches: Mapping[str, StoredWatch]) -> None:
        """Note what was taken, begin attempts that are due, and forget the webhooks of watches that are gone.

        Raises:
            DependencyError: Cassandra failed; nothing was lost.
        """
        if self._clock() - self._pumped < PUMP_INTERVAL_S:
            return
        self._pumped = self._clock()
        while not self._done.empty():
            self._take(self._done.get())
        for watch_id, receiver in list(self._receivers.items()):
            if watch_id not in watches or not receiver.waiting:
                # What is known of a slow receiver is kept.
                if not receiver.is_sending and (receiver.is_quick or watch_id not in watches):
                    del self._receivers[watch_id]
            elif not receiver.is_sending and receiver.due_s <= self._clock():
                receiver.is_sending = True
                lane = self._lanes.quick if receiver.is_quick else self._lanes.slow
                lane.submit(self._attempt, receiver.watch, receiver.waiting[0])
        self._note()

    def _attempt(self, watch: StoredWatch, numbered: NumberedMatch) -> None:
        """Runs in a lane's thread."""
        began = self._clock()
        failure = "interrupted"
        try:
            failure = self._send(watch, msgspec.json.encode(numbered.match))
        finally:
            self._done.put(_Attempt(watch.id, numbered.offset, failure, self._clock() - began))

    def _take(self, attempt: _Attempt) -> None:
        receiver = self._receivers[attempt.watch_id]
        receiver.is_sending = False
        receiver.is_quick = not attempt.failure and attempt.took_s < QUICK_S
        match = receiver.waiting[0].match
        is_old = self._now() - match.created_at / 1000 > self._retry_s
        telemetry.WEBHOOKS.labels("failed" if attempt.failure else "taken").inc()
        if attempt.failure and not is_old:
            pause_s = min(BACKOFF_S_MIN * 2.0 ** min(receiver.failures, 20), BACKOFF_S_MAX)
            receiver.failures += 1
            receiver.due_s = self._clock() + pause_s
            if receiver.failures == 1:
                logger.warning("webhook failed", watch=attempt.watch_id, detail=attempt.failure, again_in_s=pause_s)
            return
        if attempt.failure:
            telemetry.WEBHOOKS.labels("given up").inc()
            logger.error("webhook given up", watch=attempt.watch_id, match=match.id, detail=attempt.failure)
        receiver.waiting.popleft()
        # One that is too old was tried long enough: the next is tried at once only where the receiver takes matches again.
        receiver.failures = receiver.failures if attempt.failure else 0
        receiver.due_s = self._clock() if attempt.failure else 0.0
        self._told_from[attempt.watch_id] = attempt.offset + 1

    def _note(self) -> None:
        failpoint("watcher-before-webhooks-noted")
        if self._told_from:
            self._table.tell_from(self._topic, self._told_from)
            self._told_from = {}
        if self._clock() - self._noted_at < NOTE_INTERVAL_S:
            return
        heads = [receiver.waiting[0].offset for receiver in self._receivers.values() if receiver.waiting]
        behind = min([self._behind, *heads])
        if behind > self._noted:
            self._table.note_progress(self._topic, {(self._name, 0): behind})
            self._noted = behind
        self._noted_at = self._clock()
