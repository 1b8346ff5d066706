"""Follows the index that answers, and changes over to another encoder's or engine's once that covers as much."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from api.answers.queries import QueryEncoder
from api.answers.shared_queries import QueryEncoders
from contract.errors import DependencyError, IndexDamagedError, LookalikeError
from contract.settings import Engine, Settings
from gallery.generations.manifest import Manifest
from gallery.generations.reader import Reader
from gallery.generations.serving import ServingFile
from gallery.store.store import Store
from gallery.table.reader import TableReader
from gallery.table.snapshot import AnySnapshot
from runtime.failpoints import failpoint

# What answers stands still at most so long, so that an index that is always a moment behind comes to cover as much.
HOLD_S = 1.0
RETRY_S = 1.0

logger = structlog.get_logger()


class Chosen(NamedTuple):
    """What an index is known by in its collection: the name of its encoder, and its engine."""

    encoder: str
    engine: Engine

    def __str__(self) -> str:
        return f"{self.encoder} ({self.engine})"


@dataclass(frozen=True)
class Index:
    """One encoder's index, and what makes queries for it."""

    reader: Reader | TableReader
    queries: QueryEncoder
    engine: Engine = "exact"

    @property
    def chosen(self) -> Chosen:
        """What it is known by."""
        return Chosen(self.name, self.engine)

    @property
    def name(self) -> str:
        """Of the encoder."""
        return self.queries.name

    @property
    def fingerprint(self) -> str:
        """Of the encoder; its generations carry it."""
        return self.queries.fingerprint


def no_store() -> Store:
    """Of whoever has none.

    Raises:
        DependencyError: always.
    """
    raise DependencyError("cassandra", "it is not asked here.")


def open_index(settings: Settings, encoders: QueryEncoders, chosen: Chosen, store: Callable[[], Store]) -> Index:
    """An index of a collection; nothing is read yet.

    Args:
        store: tells the store, which has the index of the engine cassandra.

    Raises:
        ConfigurationError: there is no such encoder.
    """
    queries = encoders.open(chosen.encoder)
    if chosen.engine == "exact":
        return Index(Reader(settings.index_dir / chosen.encoder, queries.fingerprint), queries)
    # What one replica finds is read again from most of them, where there are several.
    asks_again = settings.cassandra_replication > 1
    reader = TableReader(store, settings.kafka_topic, queries.fingerprint, asks_again=asks_again)
    return Index(reader, queries, chosen.engine)


class Follower:
    """Looks at the index folder whenever it is asked to. Not thread-safe: one caller at a time; but `engine` may be set by any.

    Args:
        settings: of the collection.
        encoders: from which what makes queries is taken; the caller lets go of what `index` was.
        clock: seconds that never go back.
        store: as `open_index` takes it.

    Attributes:
        engine: that is to answer.
        index: the one that answers.
        snapshot: its newest good generation, None before the first one.
        refused: why not the newest generation of the encoder that was chosen answers; "" when it does.
    """

    def __init__(
        self,
        settings: Settings,
        encoders: QueryEncoders,
        clock: Callable[[], float] = time.monotonic,
        store: Callable[[], Store] = no_store,
    ) -> None:
        self._settings = settings
        self.engine: Engine = settings.engine
        self._store = store
        self._encoders = encoders
        self._clock = clock
        self._serving = ServingFile(settings.index_dir, settings.encoder)
        self._successor: _Successor | None = None
        self._is_known = True
        self.index = self._open(self._chosen())
        self.snapshot: AnySnapshot | None = None
        self.refused = ""

    def look(self) -> None:
        """Bring `index`, `snapshot` and `refused` up to date; costs two stats while nothing changed."""
        try:
            chosen = Chosen(self._serving.current().encoder, self.engine)
        except IndexDamagedError as error:
            if self._is_known:
                self._advance()
            self.refused = str(error)
            return
        self._is_known = True
        if chosen == self.index.chosen:
            self.give_up_change()
            self._advance()
        else:
            self._change_to(chosen)

    def give_up_change(self) -> None:
        """Forget the index that was to answer next, if there is one."""
        if self._successor is not None:
            self._successor.abandon()
            self._successor = None

    def _open(self, chosen: Chosen) -> Index:
        return open_index(self._settings, self._encoders, chosen, self._store)

    def _chosen(self) -> Chosen:
        """Who answers; the default one, and nothing from it, while a damaged file does not say who."""
        try:
            return Chosen(self._serving.current().encoder, self.engine)
        except IndexDamagedError as error:
            logger.error("who answers is not known", detail=str(error))
            self._is_known = False
            return Chosen(self._settings.encoder, self.engine)

    def _advance(self) -> None:
        self.snapshot = self.index.reader.current()
        self.refused = self.index.reader.refused

    def _change_to(self, chosen: Chosen) -> None:
        """Go on answering as before until the chosen index is open and covers all that is covered now."""
        successor = self._successor
        if successor is None or successor.chosen != chosen or successor.is_due_again():
            self.give_up_change()
            successor = self._successor = _Successor(chosen, lambda: self._open(chosen), self._encoders, self._clock)
        index = successor.opened
        if index is None:
            self._advance()
            self.refused = successor.failure
            return
        snapshot = index.reader.current()
        if snapshot is not None and (self.snapshot is None or snapshot.manifest.covers(self.snapshot.manifest)):
            failpoint("api-before-change")
            logger.info(
                "changing over",
                encoder=chosen.encoder,
                engine=chosen.engine,
                before=str(self.index.chosen),
                generation=snapshot.manifest.generation,
            )
            self.index, self.snapshot, self._successor, self.refused = index, snapshot, None, ""
            return
        if self.snapshot is None or not successor.may_hold(self.snapshot.manifest, snapshot):
            self._advance()
        self.refused = index.reader.refused or f"{chosen} was chosen to answer, and does not cover as much yet."


class _Successor:
    """The index that is to answer next: opened, read and its decoder child started in a thread of its own.

    Attributes:
        opened: None until all of it is ready to answer.
        failure: why it could not be opened.
    """

    def __init__(
        self, chosen: Chosen, opening: Callable[[], Index], encoders: QueryEncoders, clock: Callable[[], float]
    ) -> None:
        self.chosen = chosen
        self._encoders = encoders
        self._clock = clock
        self.opened: Index | None = None
        self.failure = ""
        self._failed_s = 0.0
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._behind: Manifest | None = None
        self._hold_until_s: float | None = None
        threading.Thread(target=self._open, args=(opening,), name=f"open-{chosen.encoder}", daemon=True).start()

    def is_due_again(self) -> bool:
        """Whether opening it failed, long enough ago to try once more."""
        return bool(self.failure) and self._clock() - self._failed_s > RETRY_S

    def abandon(self) -> None:
        """End its decoder child, now or as soon as it has started: nobody will ask it."""
        with self._lock:
            self._is_abandoned = True
            opened = self.opened
        if opened is not None:
            self._encoders.abandon(opened.queries)

    def may_hold(self, served: Manifest, own: AnySnapshot | None) -> bool:
        """Whether what is served should stand still, because the successor is so close behind that it will cover it at once.

        It is close when it has come to cover what was served a moment ago. When it then does not get there in time,
        nothing is held until it covers what was served at that time.
        """
        now_s = self._clock()
        if self._hold_until_s is not None:
            if now_s < self._hold_until_s:
                return True
            self._hold_until_s, self._behind = None, None
        if self._behind is None:
            self._behind = served
        elif own is not None and own.manifest.covers(self._behind):
            self._hold_until_s = now_s + HOLD_S
            return True
        return False

    def _open(self, opening: Callable[[], Index]) -> None:
        index: Index | None = None
        try:
            index = opening()
            index.reader.current()
            index.queries.warm_up()
        except LookalikeError as error:
            logger.error("index cannot be opened", chosen=str(self.chosen), detail=str(error))
            if index is not None:
                self._encoders.abandon(index.queries)
            self._failed_s = self._clock()
            self.failure = f"{self.chosen} was chosen to answer: {error}"
            return
        with self._lock:
            self.opened = index
            is_abandoned = self._is_abandoned
        if is_abandoned:
            self._encoders.abandon(index.queries)
