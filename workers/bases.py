"""The bases of one index: begun when the tail is long or old, built by a process of their own, and published on."""

import multiprocessing
import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from contract import telemetry
from contract.errors import IndexDamagedError
from contract.settings import Settings
from gallery.generations.next_base import build_base
from gallery.generations.writer import Writer

# A tail of one part in five costs half a search more (docs/benchmarks.md); one part in a thousand costs nothing.
TAIL_SHARE_MAX = 5
TAIL_SHARE_OLD = 1000

logger = structlog.get_logger()


class _Build(NamedTuple):
    process: multiprocessing.process.BaseProcess
    base_name: str
    entries_merged: int
    began: float
    is_taken: bool = False


class Bases:
    """Has bases built in the background.

    Args:
        settings: of the collection.
        name: of the collection.
        may_build: whether a base may begin to be built now.
        clock: seconds that only go forward.
        wall_clock: seconds since 1970, for how long history is kept.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        *,
        may_build: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._name = name
        self._may_build = may_build
        self._clock = clock
        self._wall_clock = wall_clock
        self._base_published = self._history_looked_at = self._clock()
        self._build: _Build | None = None

    @property
    def is_building(self) -> bool:
        """Whether a base is being built."""
        return self._build is not None

    def close(self) -> None:
        """End the base that is being built."""
        if self._build:
            self._build.process.terminate()
            self._build.process.join()
            self._build = None

    def tend(self, writer: Writer) -> None:
        """Begin a base when the tail is long or old; publish on it once it is built and has what came meanwhile."""
        tail = writer.manifest.tail
        if self._build is None:
            is_old = self._clock() - self._base_published > self._settings.rebuild_interval_s
            # In proportion to the base, whose size a build costs: so an image is merged a few times, however many come.
            base_images = writer.manifest.base.count
            is_long = tail.entries >= max(self._settings.rebuild_tail_images, base_images // TAIL_SHARE_MAX)
            is_due = is_long or (
                is_old and (tail.entries > base_images // TAIL_SHARE_OLD or self._is_history_overdue(writer))
            )
            if is_due and self._may_build():
                self._build = self._begin_build(writer)
        elif not self._build.process.is_alive():
            self._take(self._build, writer)

    def _take(self, build: _Build, writer: Writer) -> None:
        """Have the writer go over to a base, by a piece at each call."""
        manifest = None
        if build.process.exitcode:
            logger.error(
                "base not built", collection=self._name, exit_status=build.process.exitcode, base=build.base_name
            )
        else:
            try:
                if not build.is_taken:
                    writer.begin_base(build.base_name, build.entries_merged)
                    self._build = build._replace(is_taken=True)
                manifest = writer.carry_over()
                if manifest is None:
                    return
            except IndexDamagedError as error:
                logger.error("base not taken", collection=self._name, detail=str(error), base=build.base_name)
        self._build = None
        self._base_published = self._clock()
        if manifest is not None:
            telemetry.REBUILDS.labels(self._name).inc()
            logger.info(
                "base replaced",
                collection=self._name,
                generation=manifest.generation,
                base=manifest.base.count,
                tail=manifest.tail.entries,
                seconds=round(self._clock() - build.began, 2),
            )

    def _is_history_overdue(self, writer: Writer) -> bool:
        """Whether something is kept twice as long as history is to be kept, since nothing else had a base built."""
        if self._clock() - self._history_looked_at < self._settings.rebuild_interval_s:
            return False
        self._history_looked_at = self._clock()
        oldest_ms = writer.oldest_history_ms()
        return oldest_ms is not None and oldest_ms <= self._horizon_ms(2)

    def _horizon_ms(self, times: int = 1) -> int:
        """The effective time up to which what was replaced is dropped, or that of so many `times` the hours."""
        return int((self._wall_clock() - times * self._settings.history_hours * 3600) * 1000)

    def _begin_build(self, writer: Writer) -> _Build:
        manifest = writer.manifest
        base_name = writer.next_base_name()
        # Spawned: the lock's descriptor is not inherited, so a build never keeps a dead indexer's lock.
        process = multiprocessing.get_context("spawn").Process(
            target=build_base,
            kwargs={
                "index_dir": self._settings.encoder_index_dir,
                "generation_name": writer.current_name(),
                "base_name": base_name,
                "horizon_ms": self._horizon_ms(),
                "compiled_dir": self._settings.compiled_dir,
            },
            daemon=True,
        )
        process.start()
        return _Build(process, base_name, manifest.tail.entries, self._clock())
