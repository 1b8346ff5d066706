"""A history of the small pipeline: made from a seed, noted in a journal, and judged."""

import contextlib
import json
import random
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from contract.collections import Collection, settings_of
from contract.settings import Settings
from gallery.generations.collection_file import write_collection
from model.pictures.decoder import Decoder
from tests.api_gallery import Gallery, digit, running_api, settings_for
from tests.history.asking import Asker
from tests.history.held import Held
from tests.history.journal import End, Event, Journal, Run, Unwatch, Watch, read_journal
from tests.history.judge import Judgement, judge
from tests.history.load import Embedder, Load, Made
from tests.history.sending import headers_of, send_to
from tests.small_pipeline import PARTITIONS, SmallPipeline
from tests.waiting import wait_for

STEPS = 24
OTHER = "other"


class SmallWorld:
    """What histories share, since it takes long to start: an API, and a child that decodes."""

    def __init__(self, settings: Settings, address: str, decoder: Decoder) -> None:
        self.settings = settings
        self.address = address
        self.decoder = decoder
        self.embedder = embedder_of(settings.encoder)
        self._made = 0

    def history(self, folder: Path, seed: object) -> tuple[list[Event], Held]:
        """Make one, in a log and an index of its own; its events and what Kafka holds."""
        self._made += 1
        path = folder / f"journal-{self._made}.jsonl"
        journal = Journal(path)
        try:
            held = _History(self, journal, f"images:{self._made}", random.Random(f"{seed}")).run()
        finally:
            journal.close()
        return list(read_journal(path)), held

    def judged(self, folder: Path, seed: object) -> Judgement:
        """Make a history and judge it."""
        return judge(*self.history(folder, seed), self.embedder)


@cache
def embedder_of(encoder: str) -> Embedder:
    """One for all tests: it keeps what it has embedded."""
    return Embedder(encoder)


@contextlib.contextmanager
def small_world(folder: Path) -> Iterator[SmallWorld]:
    """An API over an empty index folder, beside the collection `other` with images of its own."""
    settings = settings_for(folder, kafka_partitions=PARTITIONS)
    other = Collection(name=OTHER, encoder=settings.encoder, partitions=1)
    write_collection(settings, other)
    gallery = Gallery(settings_of(settings, other), "images.other:1")
    gallery.put({f"image/{n}": digit(n) for n in range(8)})
    gallery.writer.close()
    decoder = Decoder(settings.encoder)
    try:
        with running_api(settings) as address:
            yield SmallWorld(settings, address, decoder)
    finally:
        decoder.close()


class _History:
    """One history while it is made."""

    def __init__(self, world: SmallWorld, journal: Journal, log: str, chance: random.Random) -> None:
        self._world = world
        self._journal = journal
        self._chance = chance
        self._load = Load(chance)
        self._pipeline = SmallPipeline(world.settings, log, chance, world.decoder)
        self._askers = [Asker(journal, world.address, name) for name in ("first", "second")]
        self._watches: list[str] = []
        journal.note(Run(seed=0, topic="images", log=log, encoder=world.settings.encoder))
        # Until the API has come to the new log it answers from the one before.
        self._send(self._load.image("first"))
        self._pipeline.embed(is_all=True)
        self._pipeline.cassandra.show(chance, 1.0)
        self._pipeline.index()
        wait_for(lambda: self._askers[0].log() == log or None)

    def run(self) -> Held:
        try:
            for step in range(STEPS):
                self._step(step)
            self._end()
        finally:
            self._pipeline.close()
            for asker in self._askers:
                asker.close()
        return self._pipeline.kafka.held()

    def _step(self, step: int) -> None:
        chance, pipeline = self._chance, self._pipeline
        for _ in range(chance.randint(2, 14)):
            self._send(self._load.record())
        if step % 5 == 1:
            self._watch()
        # Each partition falls behind for a while, so that what replaces an image is read before that image.
        pipeline.embed(behind=step // 7 % PARTITIONS if step % 7 < 5 else -1)
        pipeline.cassandra.show(chance, 0.7)
        pipeline.index()
        if step % 4 in (1, 2):
            pipeline.merge()
        pipeline.kafka.failing = int(step % 3 == 1)
        pipeline.tell()
        for _ in range(5):
            self._ask(chance.choice(self._askers))

    def _send(self, made: Made) -> None:
        append = self._pipeline.kafka.append
        send_to(self._journal, made, lambda made, n: append(made.key, made.value, headers_of(made, n)))

    def _ask(self, asker: Asker) -> None:
        if self._chance.random() < 0.15:
            asker.look()
            return
        if self._chance.random() < 0.05:
            asker.batch(*self._load.batch(self._world.embedder))
            return
        wanted = self._load.wanted(asker.coverage, self._times_ms())
        query = self._load.query(self._world.embedder)
        asker.search(query, **wanted)

    def _times_ms(self) -> list[int]:
        """Some that are over in all partitions."""
        records = [record.time_ms for partition in self._pipeline.kafka.records for record in partition[:-20]]
        return self._chance.sample(records, min(5, len(records)))

    def _watch(self) -> None:
        query, near, asked = self._load.watched(self._world.embedder)
        watch_id, began_s = f"{len(self._watches):032x}", time.monotonic()
        embedding = np.array(query.embedding, "<f4").tobytes()
        start = self._pipeline.watch(watch_id, embedding, near, json.dumps(asked) if asked else "")
        ended_s = time.monotonic()
        self._journal.note(
            Watch(
                id=watch_id, query=query, max_distance=near, filter=asked, start=start, began_s=began_s, ended_s=ended_s
            )
        )
        self._watches.append(watch_id)
        if len(self._watches) == 5:
            gone, began_s = self._watches[1], time.monotonic()
            self._pipeline.cassandra.delete(gone)
            self._journal.note(Unwatch(id=gone, began_s=began_s, ended_s=time.monotonic()))

    def _end(self) -> None:
        """Let everything come through, and ask for all that there is."""
        pipeline, asker = self._pipeline, self._askers[0]
        pipeline.embed(is_all=True)
        pipeline.cassandra.show(self._chance, 1.0)
        pipeline.index()
        pipeline.tell()
        ends = {str(partition): len(records) for partition, records in enumerate(pipeline.kafka.records)}
        query = self._load.query(self._world.embedder)
        for _ in range(3):
            asker.search(query, k=1000, min_offsets=ends, wait_ms=1000)
        look = asker.look()
        assert look is not None
        self._journal.note(End(look=look))
