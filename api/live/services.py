"""What the routes work with: the parts that all answers from one collection share. `api.bootstrap` makes them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from api.answers.addresses import PictureAddresses
from api.answers.cameras import Cameras
from api.answers.problems import ProblemError
from api.answers.searching import Searcher
from api.answers.served_generation import ServedGeneration
from api.answers.stored_records import StoredRecords
from api.live.arrivals import Arrivals
from api.live.duplicates import DuplicateRuns
from api.live.pinned import PinnedGenerations
from api.live.publishing import Publishing
from api.live.rate import Rate
from api.live.recall import RecallMeter
from api.live.served import ServedIndex
from api.live.stalled import StallWatch, Waiting
from api.live.watching import Watching
from contract.collections import Collection
from contract.errors import DependencyError
from contract.settings import Engine, Settings
from gallery.generations.manifest import Manifest
from gallery.table.snapshot import AnySnapshot, TableSnapshot
from topics.offsets import EndOffsets
from topics.rejected import NewestRejected

# So long a reader of refused records is kept, and what writes are published with.
UNUSED_S = 60.0
PUBLISHER_IDLE_S = 600.0

logger = structlog.get_logger()


@dataclass(kw_only=True)
class Services:
    """Everything that answers from one collection share. Touched on the event loop only.

    Attributes:
        settings: of the collection.
        clock: seconds since 1970.
        searcher, table_searcher: answer from generations, and from tables of embeddings.
        produced_rate: of records that arrive in Kafka.
        ends: where Kafka's partitions end; None while unknown.
        recall: measures answers that are not exact.
    """

    collection: Collection
    settings: Settings
    clock: Callable[[], float]
    served: ServedIndex
    records: StoredRecords
    searcher: Searcher
    table_searcher: Searcher
    addresses: PictureAddresses
    cameras: Cameras
    publishing: Publishing
    rejected: NewestRejected
    watching: Watching
    arrivals: Arrivals
    produced_rate: Rate
    stalls: StallWatch
    duplicates: DuplicateRuns
    recall: RecallMeter
    pinned: PinnedGenerations = field(default_factory=PinnedGenerations)
    ends: EndOffsets | None = None
    kafka_is_up: bool = False

    @property
    def encoder(self) -> str:
        """Fingerprint of the encoder that answers."""
        return self.served.index.fingerprint

    @property
    def engine(self) -> Engine:
        """That answers now: until it has changed over, another one than was chosen."""
        return self.served.index.engine

    def searcher_for(self, snapshot: AnySnapshot) -> Searcher:
        """What answers from this snapshot, whichever engine answers by now."""
        return self.table_searcher if isinstance(snapshot, TableSnapshot) else self.searcher

    def take_engine(self, collection: Collection) -> None:
        """Change over to the engine that is to answer, once its index covers as much."""
        self.collection = collection
        self.served.choose(collection.engine)

    def snapshot(self) -> AnySnapshot:
        """The generation to answer from.

        Raises:
            ProblemError: 503 ``no-generation``.
        """
        if self.served.snapshot is None:
            raise ProblemError(
                503,
                "no-generation",
                f"There is no index of {self.served.index.name} to answer from yet. "
                + (self.served.refused or "No indexer has published one; start it with `python -m workers indexer`."),
                retry=True,
            )
        return self.served.snapshot

    async def generation(self, number: int | None = None, index_id: str | None = None) -> ServedGeneration:
        """The generation to answer a question from, and the encoder that made its embeddings, whichever answers by now.

        Args:
            number: of an earlier one; None for the newest.
            index_id: whose generation that is; None where nobody said.

        Raises:
            ProblemError: 503 ``no-generation``, 410 ``generation-gone``.
        """
        snapshot = self.snapshot()
        if number is not None:
            folder = self.settings.index_dir / self.served.index.name
            snapshot = await self.pinned.find(number, index_id, snapshot, folder)
        self.pinned.note(snapshot)
        return ServedGeneration(
            collection=self.collection.name,
            snapshot=snapshot,
            queries=self.served.queries_for(snapshot),
            ends=self.ends,
            stalled_parts=self.stalled_parts(),
        )

    def dependencies(self) -> dict[str, bool]:
        """Whether the last call to each worked."""
        return {"kafka": self.kafka_is_up, "cassandra": self.records.is_up}

    def stalled_parts(self) -> list[str]:
        """The part that lets coverage stand still, or none."""
        return [self.stalls.stall.part] if self.stalls.stall else []

    async def look_for_stall(self) -> None:
        """See whether coverage stands still."""
        if self.served.snapshot is None:
            return
        before = self.stalls.stall
        manifest = self.served.snapshot.manifest
        if self.stalls.look(manifest, await self._waiting(manifest)) != before:
            logger.warning("coverage", collection=self.collection.name, stalled=self.stalls.stall)
            self.served.wake()

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
            return Waiting(in_kafka, await self.records.feed_goes_on(log_name, self.encoder, starts))
        except DependencyError:
            return Waiting(in_kafka, None)

    def take_ends(self, ends: EndOffsets | None, is_up: bool) -> None:
        """Take what Kafka said of the topic's ends; None when it said nothing."""
        self.kafka_is_up = is_up
        self.ends = ends
        if ends is not None:
            self.produced_rate.add(sum(ends.offsets.values()))
        if self.served.snapshot is not None:
            self.arrivals.covered_rate.add(sum(self.served.snapshot.manifest.offsets.values()))
        self.served.wake()

    def start(self) -> None:
        """Begin what goes on in the background."""
        self.recall.start()

    async def close_idle(self) -> None:
        """Let go of connections to Kafka that nobody uses."""
        if self.rejected.is_idle(UNUSED_S):
            await asyncio.to_thread(self.rejected.close)
        await self.watching.close_idle(UNUSED_S)
        await self.publishing.close_idle(PUBLISHER_IDLE_S)

    async def stop(self) -> None:
        """Let go of all that is the collection's own, when nobody looks at its index any more."""
        self.recall.stop()
        await self.served.stop()
        await self.publishing.stop()
        await asyncio.to_thread(self.rejected.close)
        await asyncio.to_thread(self.duplicates.close)
        await self.watching.stop()
