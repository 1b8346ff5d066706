"""Has another engine answer for a collection: its index grows beside the one that answers, is compared with it, and takes its place.

The registry says which engine answers, and which one's index grows beside it. Indexers keep both, and each API changes over by
itself once the other index covers all that it answers from. The one that answered goes on growing, until it is let go of.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from contract.collections import Collection, settings_of
from contract.errors import LookalikeError
from contract.record_key import RecordKey
from contract.settings import Engine, Settings
from gallery.collections import find_collection
from gallery.generations.content import ContentSum, content_number
from gallery.generations.fold import Fold, PartitionProgress, Position
from gallery.generations.manifest import Manifest
from gallery.generations.reader import Reader
from gallery.generations.serving import ServingFile
from gallery.generations.snapshot import Snapshot
from gallery.promote import COVERAGE_POLL_S, IndexComparison
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.table.lease import LEASE_S
from gallery.table.manifest import TableManifest, read_table_manifest
from model.encoder import load_encoder
from runtime.failpoints import failpoint

# Who holds a table that is about to be dropped; no indexer takes it before LEASE_S are over, and by then it knows.
_DROPPING = "dropping"


@dataclass(frozen=True)
class _Indexes:
    """Both indexes of a collection, of the encoder that answers."""

    store: Store
    settings: Settings
    fingerprint: str
    reader: Reader

    def exact(self) -> Snapshot | None:
        """The newest generation on this machine."""
        return self.reader.current()

    def table(self) -> TableManifest | None:
        """What the table covers."""
        found = self.store.embedding_tables.find(self.settings.kafka_topic, self.fingerprint)
        text = found.answering if found else ""
        return read_table_manifest(text) if text else None


def promote_engine(
    settings: Settings,
    store: Store,
    name: str,
    *,
    to: Engine,
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> IndexComparison | None:
    """Have the engine `to` answer for a collection; None when it does already. With differences the other one goes on answering.

    Killed at any place and run again, it comes to the same end.

    Args:
        settings: of the process.
        wait_s: how long the new index may take to cover what the old one covers now. It goes on growing afterwards too.
        clock: seconds that only go forward.

    Raises:
        LookalikeError: there is no such collection, or its new index did not come to cover as much.
        DependencyError: Cassandra did not answer; run it again.
    """
    collection = find_collection(settings, store.registry, name)
    if collection.engine == to:
        return None
    indexes = _indexes(settings, store, collection)
    if collection.beside != to:
        _set_engines(store, collection, collection.engine, to)
    failpoint("engine-after-beside")
    compared = _compared(indexes, to, clock() + wait_s, wait_s, clock)
    if not compared.differences:
        failpoint("engine-before-switch")
        _set_engines(store, collection, to, collection.engine)
        failpoint("engine-after-switch")
    return compared


def let_go_of_other_engine(
    settings: Settings, store: Store, name: str, *, engine: Engine, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Have the index of the engine that does not answer go. Every API must answer from `engine` by then.

    Raises:
        LookalikeError: another engine answers.
        DependencyError: Cassandra did not answer; run it again.
    """
    collection = find_collection(settings, store.registry, name)
    if collection.engine != engine:
        raise LookalikeError(
            f"{collection.engine} answers for {name}. First have {engine} answer (lookalike promote --engine {engine}), and let go of "
            "the other one once every API answers from it."
        )
    if collection.beside is not None:
        _set_engines(store, collection, engine, None)
    failpoint("engine-after-alone")
    if engine == "exact":
        _drop_tables(store, settings_of(settings, collection).kafka_topic, sleep)
    # Files of the exact index are deleted by the indexer of each machine.


def compare_with_table(exact: Snapshot, table: TableManifest, feed: Feed) -> IndexComparison:
    """Compare a generation with what a table covers, which is at least as much: how many images, and the content digest.

    What the table covers beyond the generation is folded onto that from the feed, so both are compared at equal coverage, and
    nothing is read but what came in between.
    """
    names = [coverage.log for coverage in table.logs]
    if [coverage.log for coverage in exact.manifest.logs] != names[: len(exact.manifest.logs)]:
        return IndexComparison(
            table.count, 0, [f"The indexes disagree on the gallery's logs: {exact.manifest.logs}, {table.logs}."]
        )
    folded = _Folded(exact, names, table.dimensions)
    for number, coverage in enumerate(table.logs):
        for partition, covered in coverage.partitions.items():
            start = folded.start(number, int(partition))
            key = RecordKey(coverage.log, int(partition), start)
            rows = list(feed.walk(key, fingerprint=table.encoder, end_offset=covered.next_offset))
            folded.add(number, int(partition), rows, covered.next_offset)
    differences = folded.differences
    if folded.count != table.count:
        differences.append(
            f"The exact index has {folded.count:,} images at what the table covers, and that has {table.count:,}."
        )
    if folded.content.digest != ContentSum(table.content_digest).digest:
        differences.append(
            f"At what the table covers the exact index has the content digest {folded.content.digest}, the table "
            f"{table.content_digest}."
        )
    return IndexComparison(table.count, folded.records, differences)


class _Folded:
    """A generation, and records that are folded onto it: how many images that makes, and their content digest.

    Args:
        logs: names of the gallery's logs, of which the generation may not know the last ones.
    """

    def __init__(self, exact: Snapshot, logs: list[str], dimensions: int) -> None:
        self._kept, self._logs = exact.kept(), logs
        self._known: dict[str, tuple[Position, bytes | None] | None] = {}
        self._fold = Fold(self._latest, dimensions=dimensions)
        for number, coverage in enumerate(exact.manifest.logs):
            for partition, covered in coverage.partitions.items():
                progress = PartitionProgress(covered.next_offset, covered.effective_ms)
                self._fold.progress[number, int(partition)] = progress
        self.content, self.count = ContentSum(exact.manifest.content_digest), exact.count
        self.records = 0
        self.differences: list[str] = []

    def start(self, log_number: int, partition: int) -> int:
        """The offset up to which a partition was folded."""
        self._fold.follow(log_number, partition)
        return self._fold.progress[log_number, partition].next_offset

    def add(self, log_number: int, partition: int, rows: list[FeedRow], end: int) -> None:
        """Fold the rows of a partition that go on up to `end`."""
        self.records += len(rows)
        for entry in self._fold.add(log_number, partition, rows):
            if not entry.is_late:
                before = self._number(entry.image_id)
                self._known[entry.image_id] = entry.position, entry.embedding
                now = self._number(entry.image_id)
                self.content.change(before, now)
                self.count += bool(now) - bool(before)
        reached = self._fold.progress[log_number, partition].next_offset
        if reached != end:
            self.differences.append(
                f"{self._logs[log_number]} {partition}: the feed hangs together up to {reached}, the table claims up to {end}."
            )

    def _meaning(self, image_id: str) -> tuple[Position, bytes | None] | None:
        if image_id not in self._known:
            self._known[image_id] = self._kept.meaning(image_id)
        return self._known[image_id]

    def _latest(self, image_id: str) -> Position | None:
        meant = self._meaning(image_id)
        return None if meant is None else meant[0]

    def _number(self, image_id: str) -> int:
        """What an id counts for in the content digest, 0 for nothing."""
        meant = self._meaning(image_id)
        if meant is None or meant[1] is None:
            return 0
        return content_number(image_id.encode(), meant[0], meant[1], self._logs)


def _indexes(settings: Settings, store: Store, collection: Collection) -> _Indexes:
    own = settings_of(settings, collection)
    encoder = ServingFile(own.index_dir, own.encoder).current().encoder
    fingerprint = load_encoder(encoder, own.encoders_dir).fingerprint
    return _Indexes(store, own, fingerprint, Reader(own.index_dir / encoder, fingerprint))


def _set_engines(store: Store, collection: Collection, engine: Engine, beside: Engine | None) -> None:
    if not store.registry.set_engines(collection.name, engine, beside):
        # `default` has a row of its own only once its engine is changed.
        store.registry.add(
            name=collection.name,
            encoder=collection.encoder,
            partitions=collection.partitions,
            engine=collection.engine,
        )
        store.registry.set_engines(collection.name, engine, beside)


def _compared(
    indexes: _Indexes, to: Engine, deadline_s: float, wait_s: float, clock: Callable[[], float]
) -> IndexComparison:
    """Both at equal coverage, once the new one covers what the old one does now.

    A generation never changes, a table does. So it is always what the table covers beyond a generation that is read from the feed.
    """
    exact, table = indexes.exact(), indexes.table()
    old: Manifest | None = table if to == "exact" else _manifest(exact)
    while True:
        new: Manifest | None = table if to == "cassandra" else _manifest(exact)
        if new is not None and (old is None or new.covers(old)):
            if (
                old is None or exact is None or table is None
            ):  # nothing answers yet: nothing to fall behind, nothing to differ from
                return IndexComparison(new.count, 0, [])
            if table.covers(exact.manifest):
                return compare_with_table(exact, table, indexes.store.feed)
            table = indexes.table()  # until it covers the generation that was found
        elif to == "exact":
            exact = indexes.exact()
        else:
            table = indexes.table()
        if clock() > deadline_s:
            raise LookalikeError(
                f"After {wait_s:g} s the index of the engine {to} {_lack(new, old)}. It goes on growing beside the other one, as long as "
                "an indexer runs. Nothing else was changed; run the same again when it has caught up."
            )
        time.sleep(COVERAGE_POLL_S)


def _manifest(snapshot: Snapshot | None) -> Manifest | None:
    return None if snapshot is None else snapshot.manifest


def _lack(new: Manifest | None, old: Manifest | None) -> str:
    if new is None or old is None:
        return "is not there yet"
    return f"lacks {new.lacks(old):,} records that answers cover now"


def _drop_tables(store: Store, topic: str, sleep: Callable[[float], None]) -> None:
    """Drop the tables of a topic, when no indexer writes them any more."""
    found = store.embedding_tables.of_topic(topic)
    if not found:
        return
    for each in found:
        store.embedding_tables.take(topic, each.encoder, _DROPPING, each)
    sleep(LEASE_S / 4)  # indexers read the registry once a second
    store.embedding_tables.drop_all(topic)
