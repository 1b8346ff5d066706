"""Measures recall all the time: some searches are compared with every row of their table, so many rows a second."""

import asyncio
import contextlib
from collections import deque

import anyio.to_thread
import structlog

from contract.errors import DependencyError
from contract.telemetry import RECALL, RECALL_MEASURED
from gallery.table.recall import SampledSearch, measured
from gallery.table.snapshot import TableSnapshot

# Compared in one reading of the table: each costs some 0.2 ms a page, and what it keeps is as much as its answer.
SEARCHES_MAX = 8
# Of searches that ask for more, nothing is kept.
SAMPLED_MATCHES_MAX = 100
# So long searches are waited for once there is one, so that few of a burst do not have the table read for themselves.
GATHER_S = 2.0
AFTER_FAILURE_S = 10.0
# Over so many measurements of an effort the mean is told.
KEPT = 256

logger = structlog.get_logger()


class RecallMeter:
    """Takes searches of one collection, and measures some. Used on the event loop only.

    Args:
        rows_per_s: so many rows are read at most; with 0 nothing is measured.
    """

    def __init__(self, collection: str, rows_per_s: int) -> None:
        self._collection, self._rows_per_s = collection, rows_per_s
        self._waiting: list[SampledSearch] = []
        self._has_some = asyncio.Event()
        self._recalls: dict[str, deque[float]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, search: SampledSearch) -> None:
        """Take a search that was answered; it is measured unless enough wait already."""
        if self._rows_per_s and len(self._waiting) < SEARCHES_MAX and search.k <= SAMPLED_MATCHES_MAX:
            self._waiting.append(search)
            self._has_some.set()

    def means(self) -> dict[str, float]:
        """Recall by effort, over what was measured last; nothing of an effort that nothing was measured of."""
        return {effort: sum(found) / len(found) for effort, found in sorted(self._recalls.items())}

    def counts(self) -> dict[str, int]:
        """By effort, over how many measurements `means` are told."""
        return {effort: len(found) for effort, found in sorted(self._recalls.items())}

    def start(self) -> None:
        """Begin to measure."""
        self._task = asyncio.create_task(self._measure_on())

    def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _measure_on(self) -> None:
        while True:
            await self._has_some.wait()
            await asyncio.sleep(GATHER_S)
            taken, self._waiting = self._waiting, []
            self._has_some.clear()
            try:
                await self._measure(taken)
            except DependencyError as error:
                logger.warning("recall not measured", collection=self._collection, detail=error.detail)
                await asyncio.sleep(AFTER_FAILURE_S)
            except Exception as error:  # the task's outermost loop: searches go on
                logger.error("recall not measured", collection=self._collection, exc_info=error)
                await asyncio.sleep(AFTER_FAILURE_S)

    async def _measure(self, taken: list[SampledSearch]) -> None:
        table: TableSnapshot = taken[-1].snapshot
        searches = [each for each in taken if each.snapshot.table is table.table]
        with contextlib.closing(measured(searches)) as pages:
            while rows := await anyio.to_thread.run_sync(next, pages, 0):
                await asyncio.sleep(rows / self._rows_per_s)
        for search in searches:
            recall = search.recall()
            if recall is not None:
                self._note(search.effort, recall)

    def _note(self, effort: str, recall: float) -> None:
        self._recalls.setdefault(effort, deque(maxlen=KEPT)).append(recall)
        RECALL.labels(self._collection, effort).set(self.means()[effort])
        RECALL_MEASURED.labels(self._collection).inc()
