"""Where the parts of an API process meet: each is made here, given what it needs, started, and closed in reverse."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from api.answers.addresses import PictureAddresses
from api.answers.bounded_work import BoundedWork
from api.answers.cameras import Cameras
from api.answers.explanations import Explanations
from api.answers.searching import Searcher
from api.answers.shared_queries import QueryEncoders
from api.answers.stored_records import StoredRecords
from api.answers.table_searching import TableSearcher
from api.live.arrivals import Arrivals
from api.live.collections import OpenCollections
from api.live.duplicates import DuplicateRuns
from api.live.followed import FollowedArrivals
from api.live.follower import Follower
from api.live.looking import TABLES_IDLE_LOOKS_PER_S, TABLES_INTERVAL_S, IndexFolders
from api.live.publishing import Publishing
from api.live.rate import Rate
from api.live.recall import RecallMeter
from api.live.served import ServedIndex
from api.live.services import Services
from api.live.stalled import StallWatch
from api.live.watching import Watching
from contract.collections import DEFAULT_COLLECTION, Collection, settings_of
from contract.settings import Settings
from gallery.nearest.compiled import compile_search
from gallery.nearest.search_threads import SEARCH_THREADS
from gallery.store.store import Store
from runtime.memory import collect_rarely
from runtime.readiness import READINESS
from topics.end_offsets import EndOffsetsPoller
from topics.offsets import EndOffsets
from topics.publisher import ImagePublisher
from topics.rejected import NewestRejected

# A search takes about a millisecond, so this many wait for well under a second.
SEARCHES_WAITING_MAX = 256
# Searches that wait for Cassandra at once: more of them only wait there.
TABLE_SEARCHES = 8
# Below this a hop to a thread and back costs more than the search, and what else the event loop has to do can wait for so long.
QUICK_SEARCH_S = 0.001


@asynccontextmanager
async def open_collections(
    settings: Settings, clock: Callable[[], float] = time.time
) -> AsyncIterator[OpenCollections]:
    """Make all parts and start them; only the index folder and the encoder must work, the rest connects in the background.

    Args:
        clock: seconds since 1970.
    """
    # Waited for, since the first queries would compile it as well, each in a thread that cannot be stopped.
    await asyncio.to_thread(compile_search, settings.compiled_dir)
    SEARCH_THREADS.use(settings.search_threads)
    READINESS.need("index")  # of one collection at least, as /readyz says
    records = StoredRecords(partial(Store.connect, settings), settings.api_cache_mib)
    explanations = Explanations()
    searches = BoundedWork(os.cpu_count() or 1, SEARCHES_WAITING_MAX, quick_s=QUICK_SEARCH_S)
    exact = Searcher(records=records, explanations=explanations, searches=searches)
    asking = BoundedWork(TABLE_SEARCHES, SEARCHES_WAITING_MAX)

    def table_searcher_of(recall: RecallMeter) -> Searcher:
        return TableSearcher(records=records, explanations=explanations, searches=asking, sample=recall.note)

    encoders = QueryEncoders(encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)
    cameras = Cameras(settings)
    folders = IndexFolders()
    tables = IndexFolders(interval_s=TABLES_INTERVAL_S, idle_looks_per_s=TABLES_IDLE_LOOKS_PER_S)
    opened = OpenCollections(
        settings,
        partial(
            _services, settings, records, exact, table_searcher_of, PictureAddresses(settings), cameras, encoders, clock
        ),
        records,
        folders,
        tables,
    )
    loop = asyncio.get_running_loop()

    def report_ends(ends: Mapping[str, EndOffsets], is_up: bool) -> None:
        loop.call_soon_threadsafe(opened.take_ends, ends, is_up)

    poller = EndOffsetsPoller(settings, opened.topics, report_ends)
    records.start()
    await opened.start()
    folders.start()
    tables.start()
    poller.start()
    default = opened.of(DEFAULT_COLLECTION)
    warming = asyncio.create_task(asyncio.to_thread(default.served.index.queries.warm_up))
    collect_rarely()
    try:
        yield opened
    finally:
        await warming
        poller.stop()
        await asyncio.to_thread(folders.stop)
        await asyncio.to_thread(tables.stop)
        await opened.stop()
        await encoders.stop()
        await records.stop()
        await cameras.stop()
        await asyncio.to_thread(explanations.close)


def _services(
    settings: Settings,
    records: StoredRecords,
    searcher: Searcher,
    table_searcher_of: Callable[[RecallMeter], Searcher],
    addresses: PictureAddresses,
    cameras: Cameras,
    encoders: QueryEncoders,
    clock: Callable[[], float],
    collection: Collection,
) -> Services:
    """What is a collection's own, and what it shares with the others."""
    own = settings_of(settings, collection)
    arrivals = Arrivals(clock, collection.name)
    served = ServedIndex(partial(Follower, own, encoders, store=records.store), own.index_dir, encoders)
    recall = RecallMeter(collection.name, own.recall_rows_per_s)
    served.on_swap(arrivals.on_swap)
    served.on_swap(FollowedArrivals(records, collection.name).on_swap)
    return Services(
        collection=collection,
        settings=own,
        clock=clock,
        served=served,
        records=records,
        searcher=searcher,
        table_searcher=table_searcher_of(recall),
        addresses=addresses,
        cameras=cameras,
        publishing=Publishing(partial(ImagePublisher, own)),
        rejected=NewestRejected(own),
        watching=Watching(own, records, clock),
        arrivals=arrivals,
        produced_rate=Rate(),
        stalls=StallWatch(settings.stalled_after_s, clock, collection.name),
        duplicates=DuplicateRuns(own, clock),
        recall=recall,
    )
