"""Follows what a table of embeddings covers."""

from collections.abc import Callable

import structlog

from contract.errors import DependencyError, IndexDamagedError
from contract.settings import Settings
from gallery.store.store import Store
from gallery.table.manifest import TableManifest, read_table_manifest
from gallery.table.snapshot import TableSnapshot

logger = structlog.get_logger()


class TableReader:
    """The newest coverage of the table that answers. Not thread-safe: one caller at a time.

    Args:
        store: tells the store; raises DependencyError while it was not reached yet.
        topic: of the collection.
        fingerprint: of the encoder.
        asks_again: as `EmbeddingTable` takes it.
    """

    def __init__(self, store: Callable[[], Store], topic: str, fingerprint: str, *, asks_again: bool) -> None:
        self._store = store
        self._topic, self._fingerprint = topic, fingerprint
        self._asks_again = asks_again
        self._seen = ""
        self._snapshot: TableSnapshot | None = None
        self.refused = ""

    def current(self) -> TableSnapshot | None:
        """What is covered now; what was known last while Cassandra is away, None before anything is covered.

        `refused` says why the newest is not told.
        """
        try:
            store = self._store()
            found = store.embedding_tables.find(self._topic, self._fingerprint)
        except DependencyError as error:
            self.refused = str(error)
            return self._snapshot
        text = found.answering if found else ""
        if text and text != self._seen:
            self._seen = text
            self._take(text, store)
        elif text:
            self.refused = ""
        return self._snapshot

    def _take(self, text: str, store: Store) -> None:
        try:
            manifest = read_table_manifest(text)
        except IndexDamagedError as error:
            if self.refused != str(error):
                logger.error("table of embeddings refused", topic=self._topic, detail=str(error))
            self.refused = str(error)
            return
        self.refused = ""
        if self._snapshot is not None and not _goes_on(manifest, self._snapshot.manifest):
            return
        known = self._snapshot
        if known is not None and known.manifest.index_id == manifest.index_id:
            table = known.table
        else:
            table = store.embedding_tables.table(manifest.index_id, manifest.dimensions, asks_again=self._asks_again)
        self._snapshot = TableSnapshot(manifest, table)


def covered_by_table(store: Store, settings: Settings) -> TableManifest | None:
    """What the table of a collection covers now; None where there is none, or what cannot be read.

    Args:
        settings: of the collection.

    Raises:
        DependencyError: Cassandra did not answer.
    """
    snapshot = newest_table(store, settings)
    return None if snapshot is None else snapshot.manifest


def newest_table(store: Store, settings: Settings) -> TableSnapshot | None:
    """The table of a collection that answers now, as `covered_by_table`."""
    found = store.embedding_tables.of_topic(settings.kafka_topic)
    for fingerprint in (each.encoder for each in found):
        reader = TableReader(
            lambda: store, settings.kafka_topic, fingerprint, asks_again=settings.cassandra_replication > 1
        )
        if (snapshot := reader.current()) is not None:
            return snapshot
    return None


def _goes_on(manifest: TableManifest, known: TableManifest) -> bool:
    """Whether it covers what is known, or is of a gallery whose logs are others."""
    same_logs = {each.log for each in known.logs} <= {each.log for each in manifest.logs}
    return not same_logs or manifest.covers(known)
