"""A collection while it is embedded: its records that wait, its batches, and what belongs to it alone."""

import asyncio
import threading

from contract.collections import Collection
from workers.embedder.batch import Batch, BatchEmbedder
from workers.embedder.pace import Pace, WaitingStretches
from workers.embedder.records import Stretch


class Served:
    """What the pipeline knows of one collection.

    Attributes:
        embedder: of this collection's records.
        topic: that they come from.
        stop: set when the collection is let go of, or when the process is to end.
        waiting: what was fetched and is not embedded.
        batches: the one that was embedded and waits to be written.
        encoder: name of the encoder, for those that share one.
    """

    def __init__(
        self, collection: Collection, embedder: BatchEmbedder, *, topic: str, stop: threading.Event, count_max: int
    ) -> None:
        self.collection = collection
        self.embedder = embedder
        self.topic = topic
        self.stop = stop
        self.pace = Pace(count_max)
        self.waiting = WaitingStretches()
        self.batches: asyncio.Queue[tuple[list[Stretch], Batch]] = asyncio.Queue(1)

    @property
    def name(self) -> str:
        """The collection's name."""
        return self.collection.name

    @property
    def is_ready(self) -> bool:
        """Whether its records can be embedded now: some wait, and there is a place for the batch."""
        return bool(self.waiting) and not self.batches.full() and not self.stop.is_set()

    def take(self, *, is_shared: bool) -> list[Stretch]:
        """The records of the next batch: small and quick when little comes, large and cheap when much does, and others wait for none."""
        return self.waiting.take(self.pace.shared_count if is_shared else self.pace.count)
