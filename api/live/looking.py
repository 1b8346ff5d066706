"""One thread that looks at the index folders of all collections: often at those in use, in turn at those that stand still."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from api.live.served import INDEXES_INTERVAL_S, ServedIndex

# Two stats each time: 20 µs, so 0.4 % of a core.
LOOK_INTERVAL_S = 0.005
# What did not change for so long, and nobody waits for, is idle.
BUSY_S = 30.0
# All idle collections together get so many looks a second, about 1 % of a core: one is looked at as often as a busy one.
IDLE_LOOKS_PER_S = 300
# Of tables of embeddings, where a look is a question to Cassandra: some 1 ms of a core for both.
TABLES_INTERVAL_S, TABLES_IDLE_LOOKS_PER_S = 0.025, 10
# Indexes beside the one that answers cost several times as much to look for.
IDLE_INDEXES_LOOKS = 8


@dataclass
class _Folder:
    served: ServedIndex
    changed_s: float
    due_s: float = 0.0


class IndexFolders:
    """Has every collection's `ServedIndex` look, from a thread of its own.

    Args:
        clock: seconds that never go back.
        interval_s: between two looks at one in use.
        idle_looks_per_s: at all idle ones together.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        interval_s: float = LOOK_INTERVAL_S,
        idle_looks_per_s: float = IDLE_LOOKS_PER_S,
    ) -> None:
        self._clock = clock
        self._interval_s, self._idle_looks_per_s = interval_s, idle_looks_per_s
        self._stopped = threading.Event()
        # Held while one is looked at, so that nobody looks at what was removed.
        self._lock = threading.Lock()
        self._folders: dict[int, _Folder] = {}
        self._thread = threading.Thread(target=self._look_on, name="generations", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. Blocks."""
        self._stopped.set()
        self._thread.join()

    def add(self, served: ServedIndex) -> None:
        """Look at this one too."""
        self._folders = {**self._folders, id(served): _Folder(served, self._clock())}

    def remove(self, served: ServedIndex) -> None:
        """Look at it no longer, from when this returns on. Blocks while it is looked at."""
        with self._lock:
            self._folders = {key: each for key, each in self._folders.items() if key != id(served)}

    def _look_on(self) -> None:
        while not self._stopped.wait(self._interval_s):
            now_s, folders = self._clock(), self._folders
            pause_s = len(folders) / self._idle_looks_per_s
            for key, folder in folders.items():
                if folder.due_s <= now_s or folder.served.waiting:
                    self._look(key, folder, pause_s)

    def _look(self, key: int, folder: _Folder, idle_pause_s: float) -> None:
        with self._lock:
            if key not in self._folders:
                return
            is_new = folder.served.look(indexes_interval_s=max(INDEXES_INTERVAL_S, IDLE_INDEXES_LOOKS * idle_pause_s))
        now_s = self._clock()
        if is_new:
            folder.changed_s = now_s
        folder.due_s = now_s + idle_pause_s if now_s - folder.changed_s > BUSY_S else now_s
