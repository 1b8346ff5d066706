"""The query encoders of one process: one for each encoder, however many collections ask with it."""

import threading
import weakref
from collections import Counter
from pathlib import Path

import anyio.to_thread

from api.answers.queries import QueryEncoder


class QueryEncoders:
    """Opens each encoder once, and has its child end when the last collection has left it. Thread-safe."""

    def __init__(self, *, encoders_dir: Path | None = None, accept_truncated: bool | None = None) -> None:
        self._encoders_dir = encoders_dir
        self._accept_truncated = accept_truncated
        self._lock = threading.Lock()
        self._open: dict[str, QueryEncoder] = {}
        self._users: Counter[str] = Counter()
        self._made: weakref.WeakSet[QueryEncoder] = weakref.WeakSet()

    def open(self, name: str) -> QueryEncoder:
        """The one of the encoder `name`, for one user more. Blocks.

        Raises:
            ConfigurationError: there is no such encoder.
        """
        with self._lock:
            if name not in self._open:
                self._open[name] = QueryEncoder(
                    name, encoders_dir=self._encoders_dir, accept_truncated=self._accept_truncated
                )
                self._made.add(self._open[name])
            self._users[name] += 1
            return self._open[name]

    async def leave(self, queries: QueryEncoder) -> None:
        """One user less: after the last one the child ends as soon as nobody waits for it. On the event loop only."""
        if self._is_last(queries):
            await queries.retire()

    def abandon(self, queries: QueryEncoder) -> None:
        """One user less, who never asked: after the last one the child ends now. Blocks."""
        if self._is_last(queries):
            queries.close()

    async def stop(self) -> None:
        """End all children."""
        for queries in list(self._made):
            await anyio.to_thread.run_sync(queries.close)

    def _is_last(self, queries: QueryEncoder) -> bool:
        with self._lock:
            self._users[queries.name] -= 1
            if self._users[queries.name]:
                return False
            del self._users[queries.name], self._open[queries.name]
            return True
