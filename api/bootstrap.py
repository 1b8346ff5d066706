"""Where the parts of an API process meet: each is made here, given what it needs, started, and closed in reverse."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from api.answers.addresses import PictureAddresses
from api.answers.bounded_work import BoundedWork
from api.answers.explanations import Explanations
from api.answers.searching import Searcher
from api.answers.stored_records import StoredRecords
from api.live.arrivals import Arrivals
from api.live.follower import Follower
from api.live.publishing import Publishing
from api.live.rate import Rate
from api.live.served import ServedIndex
from api.live.services import Services
from api.live.stalled import StallWatch
from contract.settings import Settings
from gallery.nearest.compiled import compile_search
from gallery.store.store import Store
from runtime.memory import collect_rarely
from topics.end_offsets import EndOffsetsPoller
from topics.publisher import ImagePublisher
from topics.rejected import NewestRejected
from topics.topic import EndOffsets

# A search takes about a millisecond, so this many wait for well under a second.
SEARCHES_WAITING_MAX = 256
# Below this a hop to a thread and back costs more than the search, and what else the event loop has to do can wait for so long.
QUICK_SEARCH_S = 0.001


@asynccontextmanager
async def open_services(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[Services]:
    """Make all parts and start them; only the index folder and the encoder must work, the rest connects in the background.

    Args:
        clock: seconds since 1970.
    """
    # Waited for, since the first queries would compile it as well, each in a thread that cannot be stopped.
    await asyncio.to_thread(compile_search, settings.compiled_dir)
    records = StoredRecords(partial(Store.connect, settings))
    explanations = Explanations()
    searches = BoundedWork(os.cpu_count() or 1, SEARCHES_WAITING_MAX, quick_s=QUICK_SEARCH_S)
    opened = Services(
        settings=settings,
        clock=clock,
        served=ServedIndex(partial(Follower, settings), settings.index_dir),
        records=records,
        searcher=Searcher(records=records, explanations=explanations, searches=searches),
        addresses=PictureAddresses(settings),
        publishing=Publishing(partial(ImagePublisher, settings)),
        rejected=NewestRejected(settings),
        arrivals=Arrivals(clock),
        produced_rate=Rate(),
        stalls=StallWatch(settings.stalled_after_s, clock),
    )
    loop = asyncio.get_running_loop()

    def report_ends(ends: EndOffsets | None, is_up: bool) -> None:
        loop.call_soon_threadsafe(opened.take_ends, ends, is_up)

    poller = EndOffsetsPoller(settings, report_ends)
    opened.served.on_swap(opened.arrivals.on_swap)
    await opened.served.start()
    records.start()
    poller.start()
    warming = asyncio.create_task(asyncio.to_thread(opened.served.index.queries.warm_up))
    watching = asyncio.create_task(opened.watch_for_stalls())
    collect_rarely()
    try:
        yield opened
    finally:
        watching.cancel()
        await warming
        poller.stop()
        await opened.served.stop()
        await records.stop()
        await opened.publishing.stop()
        await asyncio.to_thread(opened.rejected.close)
        await asyncio.to_thread(explanations.close)
