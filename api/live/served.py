"""What a collection is served from, an encoder and a generation of its index: looked at in the background, swapped, waited for."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from api.answers.queries import QueryEncoder
from api.answers.shared_queries import QueryEncoders
from api.live.follower import Follower, Index
from contract.settings import Engine
from gallery.generations.manifest import Manifest
from gallery.generations.serving import index_names, manifests
from gallery.table.snapshot import AnySnapshot
from runtime.failpoints import failpoint

# Indexes that do not answer are only shown: often enough to see them grow.
INDEXES_INTERVAL_S = 0.25

logger = structlog.get_logger()


@dataclass
class _Looked:
    """What the last look found."""

    newest: AnySnapshot | None = None
    indexes: dict[str, Manifest] = field(default_factory=dict)
    indexes_s: float = float("-inf")
    refused: str = ""
    failure: str = ""


class ServedIndex:
    """Keeps `snapshot` the newest good generation of the encoder that answers. All but `look` is on the event loop.

    Args:
        open_follower: of the index folder `index_dir`; blocks.
        encoders: what the follower takes its queries from.
        clock: seconds that never go back.

    Attributes:
        index: the encoder that answers; `snapshot` is of its index, unless it is None before the first generation.
        indexes: newest generation of every encoder's index that was seen lately, by the encoder's name.
        waiting: how many wait for a change.
        is_closing: the collection goes, or the process is about to end: event streams must.
    """

    index: Index

    def __init__(
        self,
        open_follower: Callable[[], Follower],
        index_dir: Path,
        encoders: QueryEncoders,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_follower = open_follower
        self._index_dir = index_dir
        self._encoders = encoders
        self._clock = clock
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[AnySnapshot | None, AnySnapshot], None]] = []
        self._queries: dict[str, QueryEncoder] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._looked = _Looked()
        self.snapshot: AnySnapshot | None = None
        self.indexes: dict[str, Manifest] = {}
        self.waiting = 0
        self.is_closing = False

    @property
    def refused(self) -> str:
        """Why the newest generation is not the one that is served; "" when it is."""
        return self._follower.refused

    def choose(self, engine: Engine) -> None:
        """Have the index of this engine answer, once it covers as much."""
        self._follower.engine = engine

    def queries_for(self, snapshot: AnySnapshot) -> QueryEncoder:
        """What makes queries with the encoder whose embeddings `snapshot` holds, whichever encoder answers by now."""
        return self._queries[snapshot.manifest.encoder]

    def on_swap(self, listener: Callable[[AnySnapshot | None, AnySnapshot], None]) -> None:
        """Call `listener(before, now)` on the event loop at each swap, before any waiter wakes."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Load the newest generation; `look` goes on from there."""
        self._loop = asyncio.get_running_loop()
        self._follower = follower = await asyncio.to_thread(self._open_follower)
        await asyncio.to_thread(follower.look)
        self._take_index(follower.index)
        if follower.snapshot is not None:
            self._swap(follower.snapshot, follower.index)
        self._looked = _Looked(newest=follower.snapshot, refused=follower.refused)

    async def stop(self) -> None:
        """Let go of the encoder, when nobody looks any more."""
        await asyncio.to_thread(self._follower.give_up_change)
        await self._encoders.leave(self.index.queries)

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
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1

    async def wait_until(self, holds: Callable[[AnySnapshot | None], bool], timeout_s: float) -> bool:
        """Whether `holds(snapshot)` became true in time; the newest generation is then in `snapshot`."""
        deadline = self._loop.time() + timeout_s
        while not holds(self.snapshot):
            left = deadline - self._loop.time()
            if left <= 0 or self.is_closing:
                return False
            await self.wait_change(left)
        return True

    def look(self, *, indexes_interval_s: float = INDEXES_INTERVAL_S) -> bool:
        """Look at the index folder once; whether there was a new generation. Any thread may, one at a time.

        Args:
            indexes_interval_s: how often indexes that do not answer are looked at.
        """
        follower, looked = self._follower, self._looked
        found = looked.indexes
        try:
            follower.look()
            if self._clock() - looked.indexes_s > indexes_interval_s:
                found, looked.indexes_s = self._other_indexes(follower), self._clock()
        except Exception as error:  # the thread's outermost loop: the last good generation goes on answering
            if looked.failure != repr(error):
                logger.error("generation could not be read", index=str(self._index_dir), exc_info=error)
            looked.failure = repr(error)
            return False
        is_new = follower.snapshot is not looked.newest and follower.snapshot is not None
        if is_new and follower.snapshot is not None:
            looked.newest = follower.snapshot
            failpoint("api-before-swap")
            self._loop.call_soon_threadsafe(self._swap, follower.snapshot, follower.index)
        if found != looked.indexes or follower.refused != looked.refused:
            looked.indexes, looked.refused = found, follower.refused
            self._loop.call_soon_threadsafe(self._take_indexes, found)
        return is_new

    def _other_indexes(self, follower: Follower) -> dict[str, Manifest]:
        """Newest generation of every index, read only where there is another than the one that answers."""
        return manifests(self._index_dir) if set(index_names(self._index_dir)) - {follower.index.name} else {}

    def _swap(self, snapshot: AnySnapshot, index: Index) -> None:
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
            retiring = asyncio.create_task(self._encoders.leave(before))
            self._retiring.add(retiring)
            retiring.add_done_callback(self._retiring.discard)

    def _take_indexes(self, indexes: dict[str, Manifest]) -> None:
        self.indexes = indexes
        self.wake()
