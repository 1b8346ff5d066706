"""A collection as one indexer process serves it."""

import os
from dataclasses import replace
from pathlib import Path

from contract.collections import Collection, settings_of
from contract.settings import Engine, Settings
from gallery.table.lease import Lease, lease_folder
from workers.indexer import Indexer


class IndexedCollection:
    """One collection with one of its engines, which this process indexes, or would while it stands by.

    Attributes:
        collection: as the registry has it.
        engine: whose index this is; another one may answer.
        settings: of the collection, with this engine.
        lock: descriptor of the lock while it is held.
        lease: of the table of embeddings, while the lock is held and the engine is Cassandra.
        due_s: when it is to be opened, or to step, next.
        active_s: when it last had something new.
    """

    def __init__(self, settings: Settings, collection: Collection, engine: Engine, now_s: float) -> None:
        self.collection = collection
        self.engine: Engine = engine
        self.settings = settings_of(settings, replace(collection, engine=engine))
        self.lock: int | None = None
        self.lease: Lease | None = None
        self.indexer: Indexer | None = None
        self.due_s = self.active_s = now_s
        self.pause_s = 0.0
        self.retry_s = 0.0
        self.failure = ""
        self.is_standing_by = False

    @property
    def name(self) -> str:
        """Of the collection."""
        return self.collection.name

    @property
    def is_beside(self) -> bool:
        """Whether another engine answers for the collection."""
        return self.engine != self.collection.engine

    @property
    def folder(self) -> Path:
        """Whose lock says that this process writes."""
        folder = self.settings.encoder_index_dir
        return folder if self.engine == "exact" else lease_folder(folder)

    def take(self, collection: Collection) -> None:
        """Take what the registry says of the collection by now."""
        self.collection = collection
        if self.indexer is not None:
            self.indexer.is_beside = self.is_beside

    def close(self) -> None:
        """Let go of the index: of its files, the base that is being built, and the lock last."""
        try:
            if self.indexer is not None:
                self.indexer.close()
        finally:
            self.indexer = self.lease = None
            if self.lock is not None:
                os.close(self.lock)
                self.lock = None
