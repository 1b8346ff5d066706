"""What is served, an encoder and a generation of its index: polled in the background, swapped within milliseconds, waited for."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from api.answers.queries import QueryEncoder
from api.live.follower import Follower, Index
from gallery.generations.manifest import Manifest
from gallery.generations.serving import manifests
from gallery.generations.snapshot import Snapshot
from runtime.failpoints import failpoint

# Two stats each time: 20 µs, so 0.4 % of a core.
LOOK_INTERVAL_S = 0.005
# Indexes that do not answer are only shown: often enough to see them grow.
INDEXES_INTERVAL_S = 0.25

logger = structlog.get_logger()


class ServedIndex:
    """Keeps `snapshot` the newest good generation of the encoder that answers. All but the polling is on the event loop.

    Args:
        open_follower: of the index folder `index_dir`; blocks.
        clock: seconds that never go back.

    Attributes:
        index: the encoder that answers; `snapshot` is of its index, unless it is None before the first generation.
        indexes: newest generation of every encoder's index that was seen lately, by the encoder's name.
        is_closing: the process is about to end: event streams must.
    """

    index: Index

    def __init__(
        self, open_follower: Callable[[], Follower], index_dir: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_follower = open_follower
        self._index_dir = index_dir
        self._clock = clock
        self._stopped = threading.Event()
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[Snapshot | None, Snapshot], None]] = []
        self._queries: dict[str, QueryEncoder] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self.snapshot: Snapshot | None = None
        self.indexes: dict[str, Manifest] = {}
        self.is_closing = False

    @property
    def refused(self) -> str:
        """Why the newest generation is not the one that is served; "" when it is."""
        return self._follower.refused

    def queries_for(self, snapshot: Snapshot) -> QueryEncoder:
        """What makes queries with the encoder whose embeddings `snapshot` holds, whichever encoder answers by now."""
        return self._queries[snapshot.manifest.encoder]

    def on_swap(self, listener: Callable[[Snapshot | None, Snapshot], None]) -> None:
        """Call `listener(before, now)` on the event loop at each swap, before any waiter wakes."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Load the newest generation, then go on looking for newer ones."""
        self._loop = asyncio.get_running_loop()
        self._follower = follower = await asyncio.to_thread(self._open_follower)
        await asyncio.to_thread(follower.look)
        self._take_index(follower.index)
        if follower.snapshot is not None:
            self._swap(follower.snapshot, follower.index)
        self._thread = threading.Thread(
            target=self._poll, args=(follower, follower.snapshot), name="generations", daemon=True
        )
        self._thread.start()

    async def stop(self) -> None:
        """Stop polling and end the decoder children."""
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self._follower.give_up_change)
        for queries in self._queries.values():
            await queries.stop()

    def wake(self) -> None:
        """Wake everyone who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close_streams(self) -> None:
        """Tell event streams that the process is about to end."""
        self.is_closing = True
        self.wake()

    async def wait_change(self, timeout_s: float) -> None:
        """Return at the next swap or `wake`, at the latest after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def wait_until(self, holds: Callable[[Snapshot | None], bool], timeout_s: float) -> bool:
        """Whether `holds(snapshot)` became true in time; the newest generation is then in `snapshot`."""
        deadline = self._loop.time() + timeout_s
        while not holds(self.snapshot):
            left = deadline - self._loop.time()
            if left <= 0 or self.is_closing:
                return False
            await self.wait_change(left)
        return True

    def _poll(self, follower: Follower, newest: Snapshot | None) -> None:
        failure, refused, indexes_s = "", follower.refused, float("-inf")
        indexes: dict[str, Manifest] = {}
        while not self._stopped.wait(LOOK_INTERVAL_S):
            try:
                follower.look()
                found = indexes
                if self._clock() - indexes_s > INDEXES_INTERVAL_S:
                    found, indexes_s = manifests(self._index_dir), self._clock()
            except Exception as error:  # the thread's outermost loop: the last good generation goes on answering
                if failure != repr(error):
                    logger.error("generation could not be read", exc_info=error)
                failure = repr(error)
                continue
            if follower.snapshot is not newest and follower.snapshot is not None:
                newest = follower.snapshot
                failpoint("api-before-swap")
                self._loop.call_soon_threadsafe(self._swap, newest, follower.index)
            if found != indexes or follower.refused != refused:
                indexes, refused = found, follower.refused
                self._loop.call_soon_threadsafe(self._take_indexes, found)

    def _swap(self, snapshot: Snapshot, index: Index) -> None:
        if index is not self.index:
            self._take_index(index)
            failpoint("api-after-change")
        before, self.snapshot = self.snapshot, snapshot
        for listener in self._listeners:
            listener(before, snapshot)
        failpoint("api-after-swap")
        self.wake()

    def _take_index(self, index: Index) -> None:
        """Queries are made by this one from now on. The one before ends when nobody uses it."""
        before = self._queries.get(self.index.fingerprint) if self._queries else None
        self._queries[index.fingerprint] = index.queries
        self.index = index
        if before is not None:
            retiring = asyncio.create_task(before.retire())
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    def _take_indexes(self, indexes: dict[str, Manifest]) -> None:
        self.indexes = indexes
        self.wake()
