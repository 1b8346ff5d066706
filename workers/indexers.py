"""One process that indexes any number of collections in turn, each in a folder with a lock of its own. One writes, others stand by."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import structlog

from contract import telemetry
from contract.collections import Collection, served_collections
from contract.errors import DependencyError
from contract.settings import Engine, Settings
from gallery.generations.collection_file import write_collection
from gallery.generations.writer import lock_index
from gallery.store.embedding_tables import TableTakenError
from gallery.store.lately import Lately
from gallery.store.store import Store
from model.encoder import load_encoder
from runtime.readiness import READINESS
from runtime.retrying import (
    RETRY_S_MAX,
    RETRY_S_MIN,
    call_watched,
)
from workers.engines import begin_anew, drop_left_index, open_writer
from workers.indexed import IndexedCollection
from workers.indexer import LOGS_INTERVAL_S, READ_ROWS_MAX, Indexer

REGISTRY_INTERVAL_S = 1.0
# A feed that stays idle is read less and less often, down to once in this many of its usual pauses.
IDLE_POLLS = 5
# One that has been idle for so long is read as seldom as it takes for all such to stay below these questions a second. A question
# costs some 0.2 ms, so they cost 5 % of a core; ten collections of four partitions are read as often as one.
IDLE_S = 30.0
# After a generation the indexer rests for as long as that took: what comes meanwhile is read together. Each costs a question a
# partition, files, and the API's opening, so the busier the machine is, the fewer are made. Nothing waits longer for the next.
REST_S_MAX = 0.25
IDLE_QUERIES_PER_S = 400
# While several have records: so many of each partition in one step, so that nobody waits long for his turn.
SHARED_READ_ROWS_MAX = 512
# Of the same core that answers; a second one so that a small base need not wait for a large one.
BUILDS_MAX = 2
STAND_BY_INTERVAL_S = 0.2
REOPEN_INTERVAL_S = 5.0
BUILD_POLL_S = 0.1

logger = structlog.get_logger()


class Indexers:
    """Takes up what the registry names, steps with each in turn, and lets go of what was dropped. One thread.

    Args:
        settings: of the process.
        rebuild: start a new index of each, the first time that it is opened.
        names: of the collections that are meant; none is all.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        stop: threading.Event,
        *,
        rebuild: bool = False,
        names: Sequence[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._store = store
        self._stop = stop
        self._names = set(names)
        self._clock = clock
        self._rebuilt: set[tuple[str, Engine]] = set()
        self._rebuild = rebuild
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="feed")
        self._slots: dict[tuple[str, Engine], IndexedCollection] = {}
        self._followed_s = float("-inf")
        self._logs = Lately(lambda wait_s: self._store.feed.logs_by_topic(wait_s), clock)

    def follow(self) -> None:
        """Bring the collections up to date once a second; while the registry cannot be read, those that are known go on."""
        if self._clock() - self._followed_s < REGISTRY_INTERVAL_S:
            return
        self._followed_s = self._clock()
        try:
            found = call_watched(self._store.registry.collections, "cassandra")
            self._note_cassandra()
        except DependencyError as error:
            self._note_dependency(error)
            found = {name: slot.collection for (name, _), slot in self._slots.items()}
        self._take(served_collections(self._settings, found, self._names).values())
        for slot in self._slots.values():
            if slot.indexer is None and slot.due_s <= self._clock() and not self._stop.is_set():
                self._guarded(slot, self._open)

    def _take(self, collections: Iterable[Collection]) -> None:
        """Take up what is wanted, and let go of what is not any more."""
        wanted = {(each.name, engine): each for each in collections for engine in each.engines}
        for key, slot in list(self._slots.items()):
            if wanted.get(key) != slot.collection:
                self._let_go(slot)
                continue
            was_beside = slot.is_beside
            slot.take(wanted[key])
            if was_beside and not slot.is_beside:
                self._guarded(slot, lambda each: write_collection(self._settings, each.collection))
            drop_left_index(slot)
        for key, collection in wanted.items():
            if key not in self._slots:
                self._slots[key] = IndexedCollection(self._settings, collection, key[1], self._clock())

    def step(self) -> None:
        """One step with each that is due."""
        now_s = self._clock()
        due = [slot for slot in self._slots.values() if slot.due_s <= now_s]
        is_shared = sum(now_s - slot.active_s < 1.0 for slot in self._slots.values()) > 1
        for slot in due:
            if self._stop.is_set():
                return
            if slot.indexer is not None:
                self._guarded(slot, lambda each: self._step(each, SHARED_READ_ROWS_MAX if is_shared else READ_ROWS_MAX))
            elif slot.is_standing_by:
                slot.due_s = now_s + STAND_BY_INTERVAL_S
                if slot.settings.encoder_index_dir.is_dir():  # else it was dropped, and the folder must not come back
                    self._guarded(slot, self._open)

    def pause_s(self) -> float:
        """How long there is nothing to do."""
        # The others are opened when the registry is read.
        stepping = (slot.due_s for slot in self._slots.values() if slot.indexer or slot.is_standing_by)
        due_s = min(stepping, default=float("inf"))
        return max(0.0, min(due_s, self._followed_s + REGISTRY_INTERVAL_S) - self._clock())

    def close(self) -> None:
        """Let go of all."""
        for slot in self._slots.values():
            with contextlib.suppress(OSError):
                slot.close()
        self._pool.shutdown()

    def _open(self, slot: IndexedCollection) -> None:
        """Take the lock and go on with the index, or stand by while another process holds it."""
        loaded = load_encoder(slot.settings.encoder, slot.settings.encoders_dir)
        if slot.lock is None:
            slot.lock = lock_index(slot.folder)
        if slot.lock is None:
            self._stand_by(slot, f"another indexer holds {slot.folder / 'lock'}")
            return
        write_collection(self._settings, slot.collection)
        rebuild = self._rebuild and (slot.name, slot.engine) not in self._rebuilt
        opening = partial(open_writer, slot, self._store, loaded, clock=self._clock)
        writer = opening(rebuild=rebuild)
        if writer is None:
            self._stand_by(slot, "an indexer of another machine writes the table of embeddings")
            return
        slot.is_standing_by = False
        self._note_lock()
        self._rebuilt.add((slot.name, slot.engine))
        slot.indexer = Indexer(
            slot.settings,
            self._store.feed,
            writer,
            begin_anew=partial(begin_anew, opening),
            name=slot.name,
            fingerprint=loaded.fingerprint,
            logs_of=self._logs_of,
            pool=self._pool,
            may_build=self._may_build,
            clock=self._clock,
        )
        slot.take(slot.collection)
        logger.info(
            "indexing",
            engine=slot.engine,
            collection=slot.name,
            index_id=writer.manifest.index_id,
            generation=writer.manifest.generation,
        )

    def _stand_by(self, slot: IndexedCollection, because: str) -> None:
        if not slot.is_standing_by:
            logger.info("standing by", collection=slot.name, because=because)
        slot.is_standing_by = True
        slot.due_s = self._clock() + STAND_BY_INTERVAL_S
        self._note_lock()

    def _step(self, slot: IndexedCollection, rows_max: int) -> None:
        assert slot.indexer is not None
        indexer, began_s = slot.indexer, self._clock()
        advanced = call_watched(lambda: indexer.step(rows_max), "cassandra")
        self._note_good(slot)
        now_s = self._clock()
        poll_s = self._settings.feed_poll_ms / 1000
        if advanced:
            slot.active_s, slot.pause_s = now_s, 0.0 if indexer.is_behind else min(now_s - began_s, REST_S_MAX)
        else:
            slot.pause_s = min(max(poll_s, slot.pause_s * 1.1), self._pause_s_max(slot, now_s, poll_s))
        slot.due_s = now_s + (min(slot.pause_s, BUILD_POLL_S) if indexer.is_building else slot.pause_s)

    def _pause_s_max(self, slot: IndexedCollection, now_s: float, poll_s: float) -> float:
        usual_s = poll_s * IDLE_POLLS
        if now_s - slot.active_s < IDLE_S:
            return usual_s
        idle = [each.indexer for each in self._slots.values() if now_s - each.active_s >= IDLE_S and each.indexer]
        return max(usual_s, sum(indexer.partition_count for indexer in idle) / IDLE_QUERIES_PER_S)

    def _guarded(self, slot: IndexedCollection, act: Callable[[IndexedCollection], None]) -> None:
        """Act; what fails is tried again later, and others go on. The only collection's failure that is a bug ends the process."""
        try:
            act(slot)
        except DependencyError as error:
            slot.retry_s = min(max(RETRY_S_MIN, slot.retry_s * 2), RETRY_S_MAX)
            slot.due_s = self._clock() + slot.retry_s
            logger.warning(
                "retrying", collection=slot.name, dependency=error.dependency, detail=error.detail, in_s=slot.retry_s
            )
            self._note_dependency(error)
        except TableTakenError as error:
            logger.warning("standing by", collection=slot.name, because=str(error))
            self._close(slot)
            slot.is_standing_by, slot.due_s = True, self._clock() + STAND_BY_INTERVAL_S
        except Exception as error:  # the process's outermost loop: the other collections go on
            if len(self._slots) == 1:
                raise
            if slot.failure != repr(error):
                logger.error("collection not indexed for now", collection=slot.name, exc_info=error)
            self._close(slot)
            slot.due_s = self._clock() + REOPEN_INTERVAL_S
            slot.failure = repr(error)
            READINESS.note("index", is_good=False)

    def _note_good(self, slot: IndexedCollection) -> None:
        had_failed = slot.retry_s or slot.failure
        slot.retry_s, slot.failure = 0.0, ""
        self._note_cassandra()
        if had_failed and not any(each.failure for each in self._slots.values()):
            READINESS.note("index", is_good=True)

    def _note_cassandra(self) -> None:
        if not any(slot.retry_s for slot in self._slots.values()):
            telemetry.DEPENDENCY_UP.labels("cassandra").set(1)
            READINESS.note("cassandra", is_good=True)

    def _note_dependency(self, error: DependencyError) -> None:
        READINESS.note(error.dependency, is_good=False)
        telemetry.DEPENDENCY_UP.labels(error.dependency).set(0)
        telemetry.DEPENDENCY_RETRIES.labels(error.dependency).inc()

    def _note_lock(self) -> None:
        """An indexer that holds no lock stands by for others."""
        holding = (slot.lock is not None and not slot.is_standing_by for slot in self._slots.values())
        READINESS.note("lock", is_good=any(holding))

    def _let_go(self, slot: IndexedCollection) -> None:
        del self._slots[slot.name, slot.engine]
        self._close(slot)
        if not any(each.name == slot.name for each in self._slots.values()):
            telemetry.forget_collection(slot.name)
        logger.info("collection let go of", collection=slot.name, engine=slot.engine)

    def _close(self, slot: IndexedCollection) -> None:
        try:
            slot.close()
        except Exception as error:  # its files may be what fails
            logger.error("collection not closed", collection=slot.name, exc_info=error)
        self._note_lock()

    def _may_build(self) -> bool:
        return sum(slot.indexer.is_building for slot in self._slots.values() if slot.indexer) < BUILDS_MAX

    def _logs_of(self, topic: str) -> list[str]:
        """A topic's logs: one question a second for all topics."""
        return self._logs.get(LOGS_INTERVAL_S / 2).get(topic, [])
