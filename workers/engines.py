"""What an indexer writes for a collection: an index on this machine, or a table of embeddings; its engine says which."""

import os
import time
from collections.abc import Callable

import structlog

from contract.errors import DependencyError
from gallery.generations.files import discard
from gallery.generations.manifest import CURRENT
from gallery.generations.writer import Writer, lock_index
from gallery.store.store import Store
from gallery.table.lease import Lease
from gallery.table.writer import TableWriter
from model.encoder import Encoder
from workers.indexed import IndexedCollection

# Of an exact index, beside CURRENT and the lock.
INDEX_FOLDERS = ("generations", "bases", "tails")

logger = structlog.get_logger()


def open_writer(
    slot: IndexedCollection,
    store: Store,
    encoder: Encoder,
    *,
    rebuild: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Writer | TableWriter | None:
    """The writer of a collection whose lock is held; None while the indexer of another machine writes the table.

    Args:
        rebuild: of a new index although the current one is good.
        clock: seconds that never go back.

    Raises:
        DependencyError: Cassandra did not answer.
    """
    if slot.engine == "exact":
        return Writer(slot.folder, encoder.fingerprint, encoder.dimensions, rebuild=rebuild)
    if slot.lease is None:
        slot.lease = Lease(store.embedding_tables, slot.folder, slot.settings.kafka_topic, encoder.fingerprint, clock)
    mine = slot.lease.try_take()
    if mine is None:
        return None
    return TableWriter(
        store.embedding_tables, mine, encoder.fingerprint, encoder.dimensions, rebuild=rebuild, clock=clock
    )


def drop_left_index(slot: IndexedCollection) -> None:
    """Delete the files of the exact index that was let go of, once a table answers for the collection and nothing beside it."""
    folder = slot.settings.encoder_index_dir
    if slot.engine == "exact" or len(slot.collection.engines) > 1 or not (folder / CURRENT).exists():
        return
    lock = lock_index(folder)
    if lock is None:  # of another process, which lets go of it
        return
    try:
        (folder / CURRENT).unlink(missing_ok=True)
        for left in INDEX_FOLDERS:
            discard(folder / left)
    finally:
        os.close(lock)
    logger.info("exact index dropped", collection=slot.name, folder=str(folder))


def begin_anew(opening: Callable[..., Writer | TableWriter | None]) -> Writer | TableWriter:
    """The writer of a new index, by an `open_writer` of which only `rebuild` is left to say.

    Raises:
        DependencyError: another indexer has taken the table over.
    """
    writer = opening(rebuild=True)
    if writer is None:
        raise DependencyError("cassandra", "the table of embeddings was taken over while a new one was to be begun.")
    return writer
