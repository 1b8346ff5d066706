"""What an indexer writes for a collection: an index on this machine, or a table of embeddings; its engine says which."""

import time
from collections.abc import Callable

from contract.errors import DependencyError
from gallery.generations.writer import Writer
from gallery.store.store import Store
from gallery.table.lease import Lease
from gallery.table.writer import TableWriter
from model.encoder import Encoder
from workers.indexed import IndexedCollection


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
    folder = slot.settings.encoder_index_dir
    if slot.settings.engine == "exact":
        return Writer(folder, encoder.fingerprint, encoder.dimensions, rebuild=rebuild)
    if slot.lease is None:
        slot.lease = Lease(store.embedding_tables, folder, slot.settings.kafka_topic, encoder.fingerprint, clock)
    mine = slot.lease.try_take()
    if mine is None:
        return None
    return TableWriter(
        store.embedding_tables, mine, encoder.fingerprint, encoder.dimensions, rebuild=rebuild, clock=clock
    )


def begin_anew(opening: Callable[..., Writer | TableWriter | None]) -> Writer | TableWriter:
    """The writer of a new index, by an `open_writer` of which only `rebuild` is left to say.

    Raises:
        DependencyError: another indexer has taken the table over.
    """
    writer = opening(rebuild=True)
    if writer is None:
        raise DependencyError("cassandra", "the table of embeddings was taken over while a new one was to be begun.")
    return writer
