"""The watcher's process: every collection in turn. One watches, others stand by."""

import contextlib
import signal
import threading
import time
from pathlib import Path

import structlog

from contract import telemetry
from contract.collections import DEFAULT_COLLECTION, Collection, served_collections
from contract.errors import ConfigurationError, DependencyError, IndexDamagedError
from contract.settings import Settings
from gallery.generations.writer import lock_index
from gallery.store.store import Store
from runtime.credentials import check_credentials
from runtime.memory import collect_rarely
from runtime.priority import give_way_unless_first
from runtime.readiness import READINESS
from runtime.retrying import StoppedError, end_when_a_call_hangs, retrying
from runtime.tracing import TRACING
from workers.watcher.collection import WatchedCollection
from workers.watcher.webhooks import Lanes

_REGISTRY_INTERVAL_S = 1.0
_PAUSE_S = 0.05
# A collection whose watches cannot be told now is left alone for so long; the others go on.
_FAILED_S = 2.0

logger = structlog.get_logger()


def run(settings: Settings) -> int:
    """Watch until SIGTERM or SIGINT; returns the exit status."""
    check_credentials(settings)
    give_way_unless_first(settings, "images")
    TRACING.start(settings, "lookalike-watcher")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    telemetry.serve_metrics(settings.metrics_host, settings.watcher_metrics_port, "WATCHER_METRICS_PORT")
    READINESS.need("cassandra", "lock")
    end_when_a_call_hangs()
    # No encoder's name begins with an underscore.
    if not _wait_for_lock(settings.index_dir / "_watcher", stop):
        return 0
    READINESS.note("lock", is_good=True)
    try:
        store = retrying(lambda: Store.connect(settings), "cassandra", stop)
    except StoppedError:
        return 0
    watcher = AllCollections(settings, store)
    logger.info("watching")
    collect_rarely()
    try:
        with contextlib.suppress(StoppedError):
            while not stop.is_set():
                if not retrying(watcher.step, "cassandra", stop):
                    stop.wait(_PAUSE_S)
    finally:
        watcher.close()
        store.close()
    return 0


class AllCollections:
    """All collections, each for one step at a time, so that a busy one does not starve the others."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._lanes = Lanes()
        self._collections: dict[Collection, WatchedCollection] = {}
        self._failed: dict[Collection, float] = {}
        self._read = float("-inf")

    def step(self) -> bool:
        """One step for each collection; False when none had anything new.

        Raises:
            DependencyError: the registry cannot be read.
        """
        if time.monotonic() - self._read >= _REGISTRY_INTERVAL_S:
            self._follow_registry()
            self._read = time.monotonic()
        advanced = False
        for collection, watched in self._collections.items():
            if self._failed.get(collection, 0.0) > time.monotonic():
                continue
            try:
                advanced |= watched.step()
            except (DependencyError, IndexDamagedError, ConfigurationError) as error:
                self._failed[collection] = time.monotonic() + _FAILED_S
                logger.warning("collection waits", collection=collection.name, detail=str(error), in_s=_FAILED_S)
                if isinstance(error, DependencyError):
                    telemetry.DEPENDENCY_RETRIES.labels(error.dependency).inc()
        telemetry.WATCHES.set(sum(watched.watch_count for watched in self._collections.values()))
        return advanced

    def close(self) -> None:
        """Let go of everything; receivers are not waited for."""
        self._lanes.close()
        for watched in self._collections.values():
            watched.close()

    def _follow_registry(self) -> None:
        found = set(served_collections(self._settings, self._store.registry.collections()).values())
        for collection in self._collections.keys() - found:
            self._collections.pop(collection).close()
            self._failed.pop(collection, None)
        for collection in sorted(found - self._collections.keys(), key=lambda each: each.name):
            self._collections[collection] = WatchedCollection(self._settings, collection, self._store, self._lanes)
            if collection.name != DEFAULT_COLLECTION:
                logger.info("watching a collection", collection=collection.name)


def _wait_for_lock(folder: Path, stop: threading.Event) -> bool:
    said = False
    while not stop.is_set():
        if lock_index(folder) is not None:
            return True
        if not said:
            logger.info("standing by", because=f"another watcher holds {folder}/lock")
            said = True
        stop.wait(0.2)
    return False
