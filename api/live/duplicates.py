"""Runs that search for duplicates: started as processes of their own, one at a time, and read when they have ended.

A run writes its file into a folder that all API processes of a machine share; a lock there lets one run at a time go on.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

from contract.errors import IndexDamagedError
from contract.settings import Settings, environment_of
from gallery.duplicates.found import DuplicateGroup, FoundDuplicates, RunProgress, found_path, read_found, read_progress
from model.encoder import load_encoder

# A gallery that changes all the time is searched again at most so often, and never for more than a tenth of the time.
AGE_MIN_S = 60.0
AGE_OF_TOOK = 10
FAILED_PAUSE_S = 30.0

logger = structlog.get_logger()


class DuplicateRuns:
    """Starts runs and reads what they found. Used on the event loop only.

    Args:
        clock: seconds since 1970.

    Attributes:
        failure: why the last run of this process did not end well; "" when it did.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = asyncio.Lock()
        self._failed_s = 0.0
        self._read: tuple[Path, tuple[int, int], FoundDuplicates] | None = None
        self._by_id: tuple[str, dict[str, list[int]]] | None = None
        self._is_wanted = False
        self._asked_for: set[float] = set()
        self.failure = ""

    async def distance_of(self, encoder: str) -> float:
        """The distance within which images of an encoder are compared unless another one is asked for."""
        return await asyncio.to_thread(_copies_within, encoder, self._settings.encoders_dir)

    async def found(self, index_id: str, max_distance: float) -> FoundDuplicates | None:
        """What the newest run over an index found within a distance, None before the first one."""
        path = found_path(self._settings.duplicates_dir, index_id, max_distance)
        try:
            status = await asyncio.to_thread(os.stat, path)
            seen = (status.st_ino, status.st_mtime_ns)
            if self._read is None or self._read[:2] != (path, seen):
                found = await asyncio.to_thread(read_found, path)
                self._read = None if found is None else (path, seen, found)
        except FileNotFoundError:
            return None
        except IndexDamagedError as error:
            logger.warning("a run's file is refused", detail=str(error))
            return None
        return self._read[2] if self._read else None

    async def groups_with(self, image_id: str, index_id: str, encoder: str) -> dict[int, DuplicateGroup]:
        """The groups of the newest run, by number, that an id was in; none before the first run. Begins none."""
        found = await self.found(index_id, await self.distance_of(encoder))
        if found is None:
            return {}
        if self._by_id is None or self._by_id[0] != found.run:
            self._by_id = found.run, await asyncio.to_thread(_groups_by_id, found)
        return {number: found.groups[number] for number in self._by_id[1].get(image_id, ())}

    def is_due(self, found: FoundDuplicates | None, digest: str, *, at_once: bool) -> bool:
        """Whether the next run may begin: something has changed, and the last one is old enough, or somebody wants it at once.

        What was wanted while a run went on, which may have begun before the latest change, is due when that one has ended.
        """
        if found is None:
            return True
        if at_once:
            self._asked_for.add(found.max_distance)
        age_s = self._clock() - found.finished_at_ms / 1000
        is_changed = found.digest != digest or found.unjudged > 0
        is_old = age_s > max(AGE_MIN_S, AGE_OF_TOOK * found.took_s)
        return found.max_distance in self._asked_for or (is_changed and is_old)

    async def start(self, max_distance: float) -> None:
        """Begin a run, unless one of this process is going on or has just failed."""
        self._is_wanted = True
        async with self._starting:  # of two who ask at once, one begins it
            await self._start(max_distance)

    async def _start(self, max_distance: float) -> None:
        if self._is_running() or self._clock() - self._failed_s < FAILED_PAUSE_S:
            return
        if await asyncio.to_thread(read_progress, self._settings.duplicates_dir) is not None:
            return  # whoever asks again begins it when that one has ended
        arguments = ["duplicates", "--background", "--max-distance", repr(max_distance)]
        # A group of its own: Ctrl-C in a terminal ends the API, which ends the run.
        self._is_wanted = False
        self._asked_for.discard(max_distance)
        self._child = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-m", "workers", *arguments],
            cwd=Path(__file__).parents[2],
            env={**os.environ, **environment_of(self._settings)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    async def progress(self, index_id: str) -> RunProgress | None:
        """How far a run over an index has come, this process's or another one's; None without one. One of another index comes first."""
        told = await asyncio.to_thread(read_progress, self._settings.duplicates_dir)
        if told is not None and told.index_id == index_id:
            return told
        if self._is_running() or (told is not None and self._is_wanted):
            return RunProgress(index_id, "starting" if told is None else "waiting for another search", 0.0, 0.0, 0)
        return None

    def close(self) -> None:
        """End the run of this process. Blocks."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def _is_running(self) -> bool:
        if self._child is None:
            return False
        status = self._child.poll()
        if status is None:
            return True
        self._child = None
        self.failure = ""
        if status:
            self._failed_s = self._clock()
            self.failure = f"The search for duplicates ended with status {status}; the API's log says why."
            logger.warning("duplicates", detail=self.failure)
        return False


def _groups_by_id(found: FoundDuplicates) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for number, group in enumerate(found.groups):
        for image in group.members:
            numbers.setdefault(image.id, []).append(number)
    return numbers


@lru_cache(maxsize=8)
def _copies_within(encoder: str, encoders_dir: Path) -> float:
    return load_encoder(encoder, encoders_dir).copies_within
