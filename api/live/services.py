"""What the routes work with: opened once a process, closed in reverse."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import structlog
from fastapi import Request

from api.answers.explanations import Explanations
from api.answers.gate import Gate
from api.answers.problems import ProblemError
from api.answers.queries import QueryEncoder
from api.live.arrivals import Arrivals
from api.live.details import Details
from api.live.publishing import Publishing
from api.live.rate import Rate
from api.live.rejections import Rejections
from api.live.served import Live
from api.live.stalled import StallWatch, Waiting
from contract.errors import DependencyError
from contract.settings import Settings
from gallery.generations.manifest import Manifest
from gallery.generations.snapshot import Snapshot
from gallery.nearest.compiled import compile_search
from runtime.memory import collect_rarely
from topics.end_offsets import Ends, EndsPoller

# A search takes about a millisecond, so this many wait for well under a second.
SEARCHES_WAITING_MAX = 256
# Below this a hop to a thread and back costs more than the search, and what else the event loop has to do can wait for so long.
QUICK_SEARCH_S = 0.001
STALL_INTERVAL_S = 1.0

logger = structlog.get_logger()


@dataclass
class Services:
    """Everything that answers share. Touched on the event loop only.

    Attributes:
        ends: where Kafka's partitions end; None while unknown.
    """

    settings: Settings
    live: Live
    details: Details
    explanations: Explanations
    publishing: Publishing
    rejections: Rejections
    searches: Gate
    arrivals: Arrivals = field(default_factory=Arrivals)
    ends: Ends | None = None
    produced_rate: Rate = field(default_factory=Rate)
    kafka_is_up: bool = False
    stalls: StallWatch = field(default_factory=lambda: StallWatch(10.0))

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder that answers."""
        return self.live.index.fingerprint

    def queries_for(self, snapshot: Snapshot) -> QueryEncoder:
        """What makes queries for this generation: the encoder that made its embeddings, and no other."""
        return self.live.queries_for(snapshot)

    def snapshot(self) -> Snapshot:
        """The generation to answer from.

        Raises:
            ProblemError: 503 ``no-generation``.
        """
        if self.live.snapshot is None:
            raise ProblemError(
                503,
                "no-generation",
                f"There is no index of {self.live.index.name} to answer from yet. "
                + (self.live.refused or "No indexer has published one; start it with `python -m workers indexer`."),
                retry=True,
            )
        return self.live.snapshot

    def dependencies(self) -> dict[str, bool]:
        """Whether the last call to each worked."""
        return {"kafka": self.kafka_is_up, "cassandra": self.details.is_up}

    def stalled_parts(self) -> list[str]:
        """The part that lets coverage stand still, or none."""
        return [self.stalls.stall.part] if self.stalls.stall else []

    async def watch_for_stalls(self) -> None:
        """Look once a second whether coverage stands still; runs until it is cancelled."""
        while True:
            await asyncio.sleep(STALL_INTERVAL_S)
            if self.live.snapshot is not None:
                before = self.stalls.stall
                manifest = self.live.snapshot.manifest
                if self.stalls.look(manifest, await self._waiting(manifest)) != before:
                    logger.warning("coverage", stalled=self.stalls.stall)
                    self.live.wake()

    async def _waiting(self, manifest: Manifest) -> Waiting:
        """What lies beyond the coverage. The store is asked only where something may."""
        offsets = {int(partition): offset for partition, offset in manifest.offsets.items()}
        in_kafka = None
        if self.ends is not None:
            # A topic that was created anew has a log that the index lacks as a whole.
            covered = offsets if self.ends.log == manifest.log else {}
            in_kafka = any(end > covered.get(partition, 0) for partition, end in self.ends.stable.items())
        if in_kafka is False or not manifest.log:
            return Waiting(in_kafka, None)
        log_name, starts = manifest.log, offsets
        if self.ends is not None:
            log_name = self.ends.log
            starts = {p: offsets.get(p, 0) if log_name == manifest.log else 0 for p in self.ends.stable}
        try:
            return Waiting(in_kafka, await self.details.feed_goes_on(log_name, self.encoder, starts))
        except DependencyError:
            return Waiting(in_kafka, None)

    def take_ends(self, ends: Ends | None, is_up: bool) -> None:
        """Take what Kafka said of the topic's ends."""
        self.kafka_is_up = is_up
        self.ends = ends
        if ends is not None:
            self.produced_rate.add(sum(ends.offsets.values()))
        if self.live.snapshot is not None:
            self.arrivals.covered_rate.add(sum(self.live.snapshot.manifest.offsets.values()))
        self.live.wake()


def services(request: Request) -> Services:
    """The services of the process that answers."""
    found: Services = request.state.services
    return found


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Open all; only the index folder and the encoder must work, the rest connects in the background."""
    # Waited for, since the first queries would compile it as well, each in a thread that cannot be stopped.
    await asyncio.to_thread(compile_search, settings.compiled_dir)
    opened = Services(
        settings=settings,
        live=Live(settings),
        details=Details(settings),
        explanations=Explanations(),
        publishing=Publishing(settings),
        rejections=Rejections(settings),
        stalls=StallWatch(settings.stalled_after_s),
        searches=Gate(os.cpu_count() or 1, SEARCHES_WAITING_MAX, quick_s=QUICK_SEARCH_S),
    )
    loop = asyncio.get_running_loop()

    def report(ends: Ends | None, is_up: bool) -> None:
        loop.call_soon_threadsafe(opened.take_ends, ends, is_up)

    poller = EndsPoller(settings, report)
    opened.live.on_swap(opened.arrivals.on_swap)
    await opened.live.start()
    opened.details.start()
    poller.start()
    warming = asyncio.create_task(asyncio.to_thread(opened.live.index.queries.warm_up))
    watching = asyncio.create_task(opened.watch_for_stalls())
    collect_rarely()
    try:
        yield opened
    finally:
        watching.cancel()
        await warming
        poller.stop()
        await opened.live.stop()
        await opened.details.stop()
        await opened.publishing.stop()
        await asyncio.to_thread(opened.rejections.close)
        await asyncio.to_thread(opened.explanations.close)
