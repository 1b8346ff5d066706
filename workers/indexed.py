"""A collection as one indexer process serves it."""

import os

from contract.collections import Collection, settings_of
from contract.settings import Settings
from gallery.table.lease import Lease
from workers.indexer import Indexer


class IndexedCollection:
    """One collection, which this process indexes, or would while it stands by.

    Attributes:
        lock: descriptor of the lock while it is held.
        lease: of the table of embeddings, while the lock is held and the engine is Cassandra.
        due_s: when it is to be opened, or to step, next.
        active_s: when it last had something new.
    """

    def __init__(self, settings: Settings, collection: Collection, now_s: float) -> None:
        self.collection = collection
        self.settings = settings_of(settings, collection)
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
