"""Embeds the records of all collections: fetched, embedded, written, acknowledged; one batch is embedded while another is written.

`reader` brings the records of the collections of one encoder, `sharing` says whose turn it is, `batch` what is done with
records. A collection that is created is taken up, and one that is dropped is let go of, while the others go on.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import structlog

from contract import telemetry
from contract.collections import Collection
from contract.errors import DependencyError, LookalikeError, TopicReplacedError
from contract.settings import Settings
from runtime.failpoints import failpoint
from runtime.memory import collect_rarely
from runtime.planted import planted
from runtime.readiness import READINESS
from runtime.retrying import StoppedError
from workers.embedder.opening import Opener
from workers.embedder.reader import GroupReader
from workers.embedder.records import Stretch
from workers.embedder.served import Served
from workers.embedder.sharing import Turns

# How soon a collection is taken up or let go of, and a topic that was created again is noticed.
CHECK_INTERVAL_S = 2.0
ASKING_THREADS = 8

logger = structlog.get_logger()


class Pipeline:
    """Embeds until it is told to stop or something breaks."""

    def __init__(
        self, settings: Settings, opener: Opener, *, slot: int, clock: Callable[[], float], stop: threading.Event
    ) -> None:
        self._settings = settings
        self._opener = opener
        self._slot = slot
        self._clock = clock
        self._stop = stop
        # One thread embeds and one writes, so a collection's batches never overtake each other; others ask where to start.
        self._embedding = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._writing = ThreadPoolExecutor(1, thread_name_prefix="write")
        self._asking = ThreadPoolExecutor(ASKING_THREADS, thread_name_prefix="ask")
        self._served: dict[str, Served] = {}
        self._tasks: dict[Served, asyncio.Task[None]] = {}
        self._readers: dict[str, GroupReader] = {}
        self._reading: dict[GroupReader, asyncio.Task[None]] = {}

    async def run(self) -> int:
        """The exit status: 0 when told to stop, 1 when something broke."""
        loop = asyncio.get_running_loop()
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told.set)
        if self._stop.is_set():
            return 0
        self._turns: Turns[Served] = Turns(self._clock)
        self._failure: asyncio.Future[None] = loop.create_future()
        collect_rarely()
        for work in (self._follow(), self._embed(), self._check_store()):
            self._start(work)
        stopping = asyncio.create_task(told.wait())
        both: set[asyncio.Future[Any]] = {stopping, self._failure}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        failure = self._failure.exception() if self._failure.done() else None
        self._stop.set()
        for served in self._served.values():
            served.stop.set()
        if failure and not isinstance(failure, StoppedError):
            _explain(failure)
        await asyncio.gather(*(reader.stop() for reader in self._readers.values()))
        return 1 if failure and not told.is_set() else 0

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Run this beside everything else; what it raises ends the pipeline."""

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) and not self._failure.done():
                self._failure.set_exception(error)

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    async def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._asking, question, *arguments)

    async def _follow(self) -> None:
        """Take up and let go of collections as the registry says, and notice topics that were created again and groups that refuse."""
        while True:
            try:
                wanted: dict[str, Collection] = await self._ask(self._opener.wanted)
                await self._let_go(wanted)
                await self._take_up(wanted)
                await self._check_topics()
                for reader in list(self._readers.values()):
                    await reader.check()
                READINESS.note("kafka", is_good=True)
            except DependencyError as error:
                logger.warning("dependency not checked", dependency=error.dependency, detail=error.detail)
                READINESS.note(error.dependency, is_good=False)
            await asyncio.sleep(CHECK_INTERVAL_S)

    async def _let_go(self, wanted: dict[str, Collection]) -> None:
        """Stop with collections that are not wanted any more, or were created anew under the same name."""
        gone = [one for one in self._served.values() if wanted.get(one.name) != one.collection]
        for served in gone:
            served.stop.set()
            del self._served[served.name]
            self._turns.forget(served)
            self._tasks.pop(served).cancel()
            served.waiting.clear()
            served.embedder.close()
            telemetry.forget_collection(served.name)
            logger.info("let go of", collection=served.name, log=served.embedder.log)
        if gone:
            await self._subscribe()

    async def _take_up(self, wanted: dict[str, Collection]) -> None:
        """Begin with collections that are new, and have readers subscribe to what has changed."""
        new = [found for name, found in wanted.items() if name not in self._served]
        # Those of an encoder at once, since each change is a rebalance; an encoder's first one waits for its child process.
        for _, same in groupby(sorted(new, key=self._opener.starting_order), key=lambda found: found.encoder):
            for collection in same:
                served = await self._ask(self._opener.open, collection)
                if served is not None:
                    self._served[served.name] = served
                    self._tasks[served] = self._start(self._write(served))
            await self._subscribe()
        await self._subscribe()

    async def _subscribe(self) -> None:
        by_encoder: dict[str, list[Served]] = {encoder: [] for encoder in self._readers}
        for served in self._served.values():
            by_encoder.setdefault(served.embedder.fingerprint, []).append(served)
        for encoder, served_here in by_encoder.items():
            reader = self._readers.get(encoder)
            if reader is None:
                self._readers[encoder] = reader = self._new_reader(encoder)
                self._reading[reader] = self._start(reader.run(served_here))
            elif served_here:
                await reader.serve(served_here)
            else:
                del self._readers[encoder]
                self._reading.pop(reader).cancel()
                await reader.stop()
        self._note_partitions()

    def _new_reader(self, encoder: str) -> GroupReader:
        return GroupReader(
            self._settings,
            fingerprint=encoder,
            slot=self._slot,
            came=self._came,
            asking=self._asking,
            on_change=self._note_partitions,
        )

    def _note_partitions(self) -> None:
        READINESS.note(
            "partitions", is_good=bool(self._readers) and all(reader.is_good for reader in self._readers.values())
        )

    def _came(self, served: Served, stretch: Stretch) -> None:
        self._turns.came(served)
        served.waiting.put(stretch)

    async def _embed(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            served = await self._turns.next()
            stretches = served.take(is_shared=self._turns.is_shared(served))
            self._turns.take(served, sum(stretch.weight_bytes for stretch in stretches))
            records = [record for stretch in stretches for record in stretch.records]
            began_s = self._clock()
            try:
                batch = await loop.run_in_executor(self._embedding, served.embedder.embed, records)
            except (StoppedError, RuntimeError):
                if not served.stop.is_set() or self._stop.is_set():
                    raise
                continue  # The collection was let go of meanwhile.
            served.pace.note(len(records), self._clock() - began_s)
            served.batches.put_nowait((stretches, batch))
            del stretches, records, batch  # not while the next is waited for: large pictures would be held twice

    async def _write(self, served: Served) -> None:
        """Write one collection's batches and acknowledge them, until it is let go of."""
        try:
            await self._write_batches(served)
        except StoppedError:
            if self._stop.is_set():
                raise
        except TopicReplacedError:
            # It was dropped and created again, unless the registry says that it is as it was.
            wanted = await self._ask(self._opener.wanted)
            if wanted.get(served.name) == served.collection:
                raise

    async def _write_batches(self, served: Served) -> None:
        loop = asyncio.get_running_loop()
        embedder, is_early = served.embedder, planted("embedder-acknowledges-first")
        while True:
            stretches, batch = await served.batches.get()
            self._turns.wake()
            await loop.run_in_executor(embedder.asking, embedder.confirm, batch)
            if is_early:
                await self._acknowledge(served, stretches)
                await asyncio.sleep(2.0)  # until it is committed
            await loop.run_in_executor(self._writing, embedder.write, batch)
            failpoint("embedder-before-ack")
            if not is_early:
                await self._acknowledge(served, stretches)
            del stretches, batch

    async def _acknowledge(self, served: Served, stretches: list[Stretch]) -> None:
        reader = self._readers.get(served.embedder.fingerprint)
        if reader is not None:
            await reader.acknowledge(stretches)

    async def _check_topics(self) -> None:
        """Notice a topic that was created again, also while nothing arrives.

        Raises:
            TopicReplacedError: it was not by dropping the collection.
            DependencyError: one is not there, or Kafka did not answer.
        """
        served = list(self._served.values())
        logs = await self._ask(self._opener.logs, [one.topic for one in served])
        other = [one for one in served if logs.get(one.topic) != one.embedder.log]
        wanted = await self._ask(self._opener.wanted) if other else {}
        missing: DependencyError | None = None
        for one in other:
            if wanted.get(one.name) == one.collection:
                try:
                    await self._ask(one.embedder.check_topic)
                except DependencyError as error:
                    missing = error
        if missing:
            raise missing

    async def _check_store(self) -> None:
        """Notice that Cassandra is away, also while nothing arrives."""
        while True:
            try:
                await self._ask(self._opener.check_store)
                READINESS.note("cassandra", is_good=True)
            except DependencyError as error:
                logger.warning("dependency not checked", dependency=error.dependency, detail=error.detail)
                READINESS.note("cassandra", is_good=False)
            await asyncio.sleep(CHECK_INTERVAL_S)


def _explain(failure: BaseException) -> None:
    if isinstance(failure, LookalikeError):
        logger.error(str(failure))
    else:
        logger.error("ending because of a bug", exc_info=failure)
