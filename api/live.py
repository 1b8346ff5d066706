"""The generation that is served: polled in the background, swapped within milliseconds, waited for."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from contract.failpoints import failpoint
from gallery.reader import Reader
from gallery.snapshot import Snapshot

# One stat each time: 10 µs, so 0.2 % of a core.
POLL_INTERVAL_S = 0.005

log = structlog.get_logger()


class Live:
    """Keeps `snapshot` the newest good generation. Everything but the polling happens on the event loop.

    Attributes:
        snapshot: what to answer from; None before the first generation.
        is_closing: the process is about to end: event streams must.
    """

    def __init__(self, index_dir: Path, encoder: str) -> None:
        self._reader = Reader(index_dir, encoder)
        self._stopped = threading.Event()
        self._changed = asyncio.Event()
        self._listeners: list[Callable[[Snapshot | None, Snapshot], None]] = []
        self.snapshot: Snapshot | None = None
        self.is_closing = False

    @property
    def refused(self) -> str:
        """Why the newest generation is not the one that is served; "" when it is."""
        return self._reader.refused

    def on_swap(self, listener: Callable[[Snapshot | None, Snapshot], None]) -> None:
        """Call `listener(before, now)` on the event loop at each swap, before any waiter wakes."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Load the newest generation, then go on looking for newer ones."""
        self._loop = asyncio.get_running_loop()
        first = await asyncio.to_thread(self._reader.current)
        if first is not None:
            self._swap(first)
        self._thread = threading.Thread(target=self._poll, args=(first,), name="generations", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()
        await asyncio.to_thread(self._thread.join)

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

    def _poll(self, newest: Snapshot | None) -> None:
        failure = ""
        while not self._stopped.wait(POLL_INTERVAL_S):
            try:
                snapshot = self._reader.current()
            except Exception as error:  # the thread's outermost loop: the last good generation goes on answering
                if failure != repr(error):
                    log.error("generation could not be read", exc_info=error)
                failure = repr(error)
                continue
            if snapshot is not newest and snapshot is not None:
                newest = snapshot
                failpoint("api-before-swap")
                self._loop.call_soon_threadsafe(self._swap, snapshot)

    def _swap(self, snapshot: Snapshot) -> None:
        before, self.snapshot = self.snapshot, snapshot
        for listener in self._listeners:
            listener(before, snapshot)
        failpoint("api-after-swap")
        self.wake()
