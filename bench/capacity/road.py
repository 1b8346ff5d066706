"""The simulated pipeline: topic, embedders, Cassandra, indexer, searchable; with measured costs, on cores that they share.

It follows the real programs: an embedder takes as many images at once as its own `Pace` says, embeds one batch while it writes another,
and an indexer rests after a generation for as long as that took.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from simpy import Environment, Event, Store

from bench.capacity.cores import Cores
from workers.embedder.pace import Pace
from workers.indexers import IDLE_POLLS, REST_S_MAX


@dataclass(frozen=True)
class Cost:
    """Processor time of one program, in seconds: for each batch or generation, and for each image in it."""

    time_s: float = 0.0
    image_s: float = 0.0

    def of(self, images: int) -> float:
        """For so many images at once."""
        return self.time_s + self.image_s * images


@dataclass(frozen=True)
class Costs:
    """Of all programs.

    Attributes:
        kafka, embedder, decoder, storing: of a batch; `storing` is Cassandra's.
        indexer, reading: of a generation; `reading` is Cassandra's.
        batch_wait_s: what a batch waits without computing: for records from Kafka, and for disks.
        image_wait_s: what each image of a batch waits without computing: one thread of the embedder for another, or for its child.
        decoders: that share a batch's images.
    """

    kafka: Cost
    embedder: Cost
    decoder: Cost
    storing: Cost
    indexer: Cost
    reading: Cost
    batch_wait_s: float = 0.0
    image_wait_s: float = 0.0
    decoders: int = 1


@dataclass(frozen=True)
class Places:
    """How many cores there are, and for whom. One number for everything is one machine; names are machines of their own.

    Attributes:
        embedder: of each embedder.
    """

    shared: float | None = None
    kafka: float = 1.0
    cassandra: float = 1.0
    embedder: float = 1.0
    indexer: float = 1.0


@dataclass
class Journey:
    """What became of the images: (n,) float64 seconds each, NaN for what did not get so far; counts of batches and generations."""

    arrived_s: NDArray[np.float64]
    stored_s: NDArray[np.float64]
    searchable_s: NDArray[np.float64]
    batches: int = 0
    generations: int = 0
    used_s: dict[str, float] = field(default_factory=dict)

    @property
    def fresh_ms(self) -> NDArray[np.float64]:
        """From the topic to searchable."""
        found: NDArray[np.float64] = (self.searchable_s - self.arrived_s) * 1000
        return found


def simulate(
    arrivals_s: Sequence[float] | NDArray[np.float64],
    costs: Costs,
    places: Places,
    *,
    embedders: int,
    partitions: int,
    batch_images_max: int = 512,
    poll_s: float = 0.02,
    seed: int = 1,
) -> Journey:
    """Run images through until all are searchable.

    Args:
        arrivals_s: when each is in the topic, ascending. Each goes to a partition by chance, as keys' hashes do.
        poll_s: how soon the indexer looks again at an idle feed.
    """
    road = _Road(
        np.asarray(arrivals_s, np.float64), costs, places, embedders, partitions, batch_images_max, poll_s, seed
    )
    return road.run()


class _Road:
    def __init__(
        self,
        arrivals_s: NDArray[np.float64],
        costs: Costs,
        places: Places,
        embedders: int,
        partitions: int,
        batch_images_max: int,
        poll_s: float,
        seed: int,
    ) -> None:
        self._environment = environment = Environment()
        self._costs = costs
        self._poll_s = poll_s
        self._batch_images_max = batch_images_max
        count = len(arrivals_s)
        nowhere = np.full(count, np.nan)
        self._journey = Journey(arrivals_s, nowhere.copy(), nowhere.copy())
        shared = None if places.shared is None else Cores(environment, places.shared)
        self._kafka = shared or Cores(environment, places.kafka)
        self._cassandra = shared or Cores(environment, places.cassandra)
        self._indexer = shared or Cores(environment, places.indexer)
        # The indexer reads all partitions side by side, and an embedder writes the rows of each partition by a statement of its own.
        self._partitions, self._partitions_each = partitions, max(1, partitions // embedders)
        self._embedders = [shared or Cores(environment, places.embedder) for _ in range(embedders)]
        # Partitions go round; those beyond the embedders' number make some embedders have more than others, as in a consumer group.
        self._embedder_of = np.random.default_rng(seed).integers(0, partitions, count) % embedders
        self._waiting: list[list[int]] = [[] for _ in range(embedders)]
        self._came = [environment.event() for _ in range(embedders)]
        self._stored: list[int] = []
        self._left = count

    def run(self) -> Journey:
        """Until nothing is left."""
        environment = self._environment
        environment.process(self._arrive())
        for number in range(len(self._embedders)):
            batches: Store = Store(environment, 1)
            environment.process(self._embed(number, batches))
            environment.process(self._write(number, batches))
        environment.run(environment.process(self._index()))
        self._journey.used_s = {
            "kafka": self._kafka.used_s,
            "cassandra": self._cassandra.used_s,
            "indexer": self._indexer.used_s,
            "embedders": sum(cores.used_s for cores in set(self._embedders)),
        }
        return self._journey

    def _arrive(self) -> Generator[Event, Any, None]:
        for image, arrived_s in enumerate(self._journey.arrived_s):
            if arrived_s > self._environment.now:
                yield self._environment.timeout(arrived_s - self._environment.now)
            number = self._embedder_of[image]
            self._waiting[number].append(image)
            if not self._came[number].triggered:
                self._came[number].succeed()

    def _embed(self, number: int, batches: Store) -> Generator[Event, Any, None]:
        costs, waiting, cores = self._costs, self._waiting[number], self._embedders[number]
        pace = Pace(self._batch_images_max)
        # It has run for a while.
        for _ in range(10):
            pace.note(pace.count, pace.count * (costs.embedder.image_s + costs.decoder.image_s))
        while True:
            while not waiting:
                self._came[number] = self._environment.event()
                yield self._came[number]
            taken = waiting[: pace.count]
            del waiting[: pace.count]
            began_s = self._environment.now
            yield self._kafka.work(costs.kafka.of(len(taken)))
            # Half of the embedder's own work comes before its images are embedded and half when they are written.
            yield cores.work(costs.embedder.of(len(taken)) / 2)
            share_s = costs.decoder.of(len(taken)) / costs.decoders
            yield self._environment.timeout(costs.image_wait_s * len(taken))
            yield self._side_by_side(cores, share_s * costs.decoders, costs.decoders)
            pace.note(len(taken), self._environment.now - began_s)
            yield batches.put(taken)

    def _write(self, number: int, batches: Store) -> Generator[Event, Any, None]:
        costs, cores = self._costs, self._embedders[number]
        while True:
            taken = yield batches.get()
            yield cores.work(costs.embedder.of(len(taken)) / 2)
            yield self._environment.timeout(costs.batch_wait_s)
            # Records, then the feed.
            for _ in range(2):
                statements = min(len(taken), self._partitions_each)
                yield self._side_by_side(self._cassandra, costs.storing.of(len(taken)) / 2, statements)
            self._journey.stored_s[taken] = self._environment.now
            self._journey.batches += 1
            self._stored += taken

    def _side_by_side(self, cores: Cores, seconds: float, count: int) -> Event:
        return self._environment.all_of([cores.work(seconds / count) for _ in range(count)])

    def _index(self) -> Generator[Event, Any, None]:
        costs, pause_s = self._costs, self._poll_s
        while self._left:
            began_s = self._environment.now
            taken, self._stored = self._stored, []
            if not taken:
                pause_s = min(max(self._poll_s, pause_s * 1.1), self._poll_s * IDLE_POLLS)
                yield self._environment.timeout(pause_s)
                continue
            yield self._side_by_side(self._cassandra, costs.reading.of(len(taken)), self._partitions)
            yield self._indexer.work(costs.indexer.of(len(taken)))
            self._journey.searchable_s[taken] = self._environment.now
            self._journey.generations += 1
            self._left -= len(taken)
            pause_s = min(self._environment.now - began_s, REST_S_MAX)
            yield self._environment.timeout(pause_s)


def steady(rate: float, seconds: float) -> NDArray[np.float64]:
    """(n,) float64 arrivals at a rate, one after another."""
    found: NDArray[np.float64] = np.arange(max(2, int(rate * seconds))) / rate
    return found


def at_once(images: int) -> NDArray[np.float64]:
    """(n,) float64 arrivals of images that lie in the topic."""
    return np.zeros(images)
