"""The pipeline's own parts, from judging a record to answering over HTTP, over a Kafka and a Cassandra that are lists.

What is written to the feed appears late and in any order, as that of several writers does; partitions are read at different
paces; Kafka's clock stands still at times and goes back. All of that is chance of one seed.
"""

import random
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.next_base import build_base
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow
from gallery.store.watches import StoredWatch, WatchStart
from model.encoder import load_encoder
from model.pictures.decoder import Decoder
from model.pictures.decoders import Decoders
from tests.history.held import Held, HeldMatch, HeldRecord, held_rejection
from topics.batch_publisher import Message
from topics.matches import WatchMatch
from workers.embedder.batch import BatchEmbedder
from workers.embedder.records import Record
from workers.indexer import Indexer
from workers.watcher.following import Following
from workers.watcher.selection import select_rows

PARTITIONS = 3
# Kafka's clock begins so long ago, so that all of its times have come.
_AGO_MS = 3_600_000


class SmallKafka:
    """The topic of images with its rejections and matches; each append is confirmed at once."""

    def __init__(self, log: str, chance: random.Random) -> None:
        self.log = log
        self.records: list[list[HeldRecord]] = [[] for _ in range(PARTITIONS)]
        self.rejected: list[Message] = []
        self.told: list[WatchMatch] = []
        # Publishing a match fails so many times before it works.
        self.failing = 0
        self._chance = chance
        self._now_ms = time.time_ns() // 1_000_000 - _AGO_MS

    def append(self, key: bytes | None, value: bytes | None, headers: dict[str, bytes]) -> tuple[int, int]:
        """Partition and offset of a record. Records of one id are on any partition, as those of several producers are."""
        partition = self._chance.randrange(PARTITIONS)
        self._now_ms += self._chance.choice((0, 0, 1, 1, 2, 9, -3, -6))
        offset = len(self.records[partition])
        self.records[partition].append(HeldRecord(partition, offset, self._now_ms, key, value, headers))
        return partition, offset

    def publish(self, messages: Sequence[Any]) -> list[int]:
        """Take rejections, or matches."""
        if messages and isinstance(messages[0], WatchMatch):
            if self.failing:
                self.failing -= 1
                raise DependencyError("kafka", "away")
            self.told += messages
        else:
            self.rejected += messages
        return []

    def end_offset(self) -> int:
        """Behind the last match."""
        return len(self.told)

    def held(self) -> Held:
        """Everything, as a consumer would read it."""
        return Held(
            self.log,
            [record for partition in self.records for record in partition],
            [held_rejection({name: value or b"" for name, value in message.headers}) for message in self.rejected],
            [
                HeldMatch(m.id, m.watch, m.image, m.source.log, m.source.partition, m.source.offset, m.distance)
                for m in self.told
            ],
        )


class SmallCassandra:
    """Feed, records and watches. Rows of the feed are read only once they were shown."""

    def __init__(self, log: str) -> None:
        self._log = log
        self._rows: dict[int, list[FeedRow]] = defaultdict(list)
        self._late: list[FeedRow] = []
        self._watches: dict[str, StoredWatch] = {}
        self._progress: dict[tuple[str, int], int] = {}

    def write(self, rows: Sequence[Any], **_: object) -> None:
        """Take rows of the feed; records are not kept."""
        self._late += [row for row in rows if isinstance(row, FeedRow)]

    write_originals = write

    def show(self, chance: random.Random, share: float) -> None:
        """Let a share of the rows that were written be read, whichever they are."""
        shown = [row for row in self._late if chance.random() < share]
        self._late = [row for row in self._late if row not in shown]
        for row in shown:
            self._rows[row.key.partition].append(row)
            self._rows[row.key.partition].sort(key=lambda each: each.key.offset)

    def read(self, start: Any, limit: Any, **_: object) -> list[Any]:
        """Of the feed, or of the watches."""
        if isinstance(start, RecordKey):
            return [row for row in self._rows[start.partition] if row.key.offset >= start.offset][:limit]
        return [self._watches[each] for each in limit if each in self._watches]

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int) -> list[FeedRow]:
        """Of the feed."""
        return [row for row in self._rows[start.partition] if start.offset <= row.key.offset < end_offset]

    def partitions(self, log: str, **_: object) -> set[int]:
        """That have rows."""
        return set(self._rows)

    def logs(self, topic: str) -> list[str]:
        """The one that there is."""
        return [self._log]

    def add(self, watch: StoredWatch) -> None:
        """Note a watch."""
        self._watches[watch.id] = watch

    def delete(self, watch_id: str) -> None:
        """Forget a watch."""
        self._watches.pop(watch_id, None)

    def ids(self, topic: str) -> set[str]:
        """Of the watches."""
        return set(self._watches)

    def progress(self, topic: str) -> dict[tuple[str, int], int]:
        """Of the watcher."""
        return dict(self._progress)

    def note_progress(self, topic: str, progress: dict[tuple[str, int], int]) -> None:
        """Of the watcher."""
        self._progress |= progress

    def tell_from(self, topic: str, told_from: dict[str, int]) -> None:
        """A watch was taken up."""
        for watch_id, offset in told_from.items():
            if watch_id in self._watches:
                self._watches[watch_id] = replace(self._watches[watch_id], told_from=offset)


class SmallPipeline:
    """Embedder, indexer and watcher of one log, a step at a time; an API over the index folder is the test's own.

    Args:
        decoder: a child that decodes and embeds.
    """

    def __init__(self, settings: Settings, log: str, chance: random.Random, decoder: Decoder) -> None:
        self.kafka, self.cassandra = SmallKafka(log, chance), SmallCassandra(log)
        self._chance = chance
        self._log = log
        self._encoder = load_encoder(settings.encoder, settings.encoders_dir)
        self._next = [0] * PARTITIONS
        self._time_s = 0.0
        self._merging: tuple[str, int] | None = None
        self._is_carrying = False
        cassandra: Any = self.cassandra
        self._embedder = BatchEmbedder(
            collection="default",
            log=log,
            fingerprint=self._encoder.fingerprint,
            topic=SimpleNamespace(verify=lambda log: None),  # type: ignore[arg-type]
            store=SimpleNamespace(records=cassandra, feed=cassandra),  # type: ignore[arg-type]
            decoders=Decoders(lambda _: decoder, 1),
            rejected=self.kafka,  # type: ignore[arg-type]
            clock=time.monotonic,
            stop=threading.Event(),
        )
        self._writer = Writer(
            settings.encoder_index_dir, self._encoder.fingerprint, self._encoder.dimensions, rebuild=True
        )
        self._folder, self._compiled = settings.encoder_index_dir, settings.compiled_dir
        self._pool = ThreadPoolExecutor(1)
        self._indexer = Indexer(
            settings,
            cassandra,
            self._writer,
            begin_anew=lambda: self._writer,
            name="default",
            fingerprint=self._encoder.fingerprint,
            logs_of=lambda topic: [log],
            pool=self._pool,
            may_build=lambda: False,
            clock=lambda: self._time_s,
        )
        self._watcher = Following(
            topic=settings.kafka_topic,
            collection="default",
            partitions=PARTITIONS,
            feed=cassandra,
            watches=cassandra,
            teller=self.kafka,
            verdicts=lambda hits: [None] * len(hits),
            selects=select_rows,
            clock=lambda: self._time_s,
        )

    def embed(self, *, behind: int = -1, is_all: bool = False) -> None:
        """Embed some records of the partitions that are not `behind`, or all that there are."""
        for partition, records in enumerate(self.kafka.records):
            if partition == behind:
                continue
            begin = self._next[partition]
            end = len(records) if is_all else self._chance.randint(begin, len(records))
            batch = [
                Record(partition, r.offset, r.offset, r.time_ms, r.key, r.value, list(r.headers.items()))
                for r in records[begin:end]
            ]
            if batch:
                embedded = self._embedder.embed(batch)
                self._embedder.confirm(embedded)
                self._embedder.write(embedded)
                self._next[partition] = end

    def index(self) -> None:
        """Let the indexer read what is shown, and publish."""
        self._time_s += 2
        while self._indexer.step(self._chance.choice((3, 20, 2048))):
            pass

    def merge(self) -> None:
        """Begin to build a base, or publish on the one that was begun."""
        writer = self._writer
        if self._merging is None:
            name, merged = writer.next_base_name(), writer.manifest.tail.entries
            build_base(self._folder, generation_name=writer.current_name(), base_name=name, compiled_dir=self._compiled)
            self._merging = name, merged
        else:
            if not self._is_carrying:
                writer.begin_base(*self._merging)
                self._is_carrying = True
            if writer.carry_over(self._chance.choice((1, 5, 2048))) is not None:
                self._merging, self._is_carrying = None, False

    def tell(self) -> None:
        """Let the watcher tell what is new."""
        self._time_s += 2
        try:
            while self._watcher.step(self._encoder):  # type: ignore[arg-type]
                pass
        except DependencyError:
            return  # it is told at the next step

    def watch(self, watch_id: str, embedding: bytes, max_distance: float, asked: str) -> dict[str, int]:
        """Create a watch as the API does; where it begins."""
        start = {str(partition): len(records) for partition, records in enumerate(self.kafka.records)}
        self.cassandra.add(
            StoredWatch(
                topic="",
                id=watch_id,
                name="",
                embedding=embedding,
                encoder=self._encoder.fingerprint,
                max_distance=max_distance,
                filter=asked,
                start=WatchStart(log=self._log, offsets=start),
                created_at_ms=0,
            )
        )
        return start

    def close(self) -> None:
        """Close files and threads."""
        self._indexer.close()
        self._pool.shutdown()
