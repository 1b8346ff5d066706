"""Watches: the standing queries of all collections, and how far the watcher has come. Not rows of records: people make them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from cassandra.concurrent import execute_concurrent_with_args
from cassandra.query import UNSET_VALUE

from gallery.store.session import CONCURRENT_REQUESTS, CassandraSession

_CHUNK_SIZE_BYTES = 256 * 1024
# Microseconds since 1970, long after all clocks: a watch that is deleted stays so, whatever the clock of whoever wrote it said. No id
# comes twice.
_AFTER_ALL_US = 2**62
_COLUMNS = (
    "topic, id, name, embedding, encoder, max_distance, filter, webhook, secret, start, width, height, bytes_sha256, "
    "pixels_sha256, created_at, told_from"
)


class WatchStart(msgspec.Struct, frozen=True):
    """From which records on a watch is told: those that Kafka did not have yet when it was created.

    Attributes:
        log: the topic's log then.
        offsets: where its partitions ended; one that is not named begins later, at 0.
        older: logs that the gallery consisted of before; a log that is named nowhere came later, and counts whole.
    """

    log: str
    offsets: dict[str, int]
    older: list[str] = []

    def in_partition(self, log: str, partition: int) -> int | None:
        """The first offset of a log's partition that counts, None when none does."""
        if log == self.log:
            return self.offsets.get(str(partition), 0)
        return None if log in self.older else 0


@dataclass(frozen=True, kw_only=True)
class WatchImage:
    """What is known of a watch's query image; its bytes are `Watches.read_image`."""

    width: int
    height: int
    bytes_sha256: bytes
    pixels_sha256: bytes


@dataclass(frozen=True, kw_only=True)
class StoredWatch:
    """A standing query.

    Attributes:
        topic: of the collection that is watched.
        embedding: float32 as little-endian bytes, made by the encoder whose fingerprint is `encoder`.
        filter: JSON text, "" without one.
        webhook: address that matches are sent to, "" without one; they are signed with `secret`.
        image: None when the query was an embedding.
        told_from: the offset among the matches from which its webhook goes on; None until the watcher has taken the watch up.
    """

    topic: str
    id: str
    name: str
    embedding: bytes = field(repr=False)
    encoder: str
    max_distance: float
    filter: str = ""
    webhook: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    start: WatchStart
    image: WatchImage | None = None
    created_at_ms: int
    told_from: int | None = None


class Watches:
    """The tables of watches. Thread-safe. Every method raises DependencyError when Cassandra fails it."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session
        marks = ", ".join("?" for _ in _COLUMNS.split(","))
        self._insert = session.prepare(f"INSERT INTO watches ({_COLUMNS}) VALUES ({marks})")
        self._select = session.prepare(f"SELECT {_COLUMNS} FROM watches WHERE topic = ?")
        self._select_one = session.prepare(f"SELECT {_COLUMNS} FROM watches WHERE topic = ? AND id = ?")
        self._select_ids = session.prepare("SELECT id, created_at FROM watches WHERE topic = ?")
        self._delete = session.prepare(
            f"DELETE FROM watches USING TIMESTAMP {_AFTER_ALL_US} WHERE topic = ? AND id = ?"
        )
        self._embed = session.prepare("UPDATE watches SET embedding = ?, encoder = ? WHERE topic = ? AND id = ?")
        self._tell_from = session.prepare("UPDATE watches SET told_from = ? WHERE topic = ? AND id = ?")
        self._insert_chunk = session.prepare("INSERT INTO watch_images (id, n, chunk) VALUES (?, ?, ?)")
        self._select_chunks = session.prepare("SELECT chunk FROM watch_images WHERE id = ?")
        self._delete_chunks = session.prepare(f"DELETE FROM watch_images USING TIMESTAMP {_AFTER_ALL_US} WHERE id = ?")
        self._select_progress = session.prepare("SELECT log, kpart, next_offset FROM watch_progress WHERE topic = ?")
        self._delete_progress = session.prepare("DELETE FROM watch_progress WHERE topic = ?")
        self._insert_progress = session.prepare(
            "INSERT INTO watch_progress (topic, log, kpart, next_offset) VALUES (?, ?, ?, ?)"
        )

    def add(self, watch: StoredWatch, image: bytes | None = None) -> None:
        """Note a new watch, its image first: a watch that is there is whole."""
        with self._session.asked("creating a watch") as driver:
            for n, at in enumerate(range(0, len(image or b""), _CHUNK_SIZE_BYTES)):
                assert image is not None
                driver.execute(self._insert_chunk, (watch.id, n, image[at : at + _CHUNK_SIZE_BYTES]))
            driver.execute(self._insert, _values(watch))

    def delete(self, *, topic: str, watch_id: str) -> None:
        """Forget a watch; forgetting it again changes nothing."""
        with self._session.asked("deleting a watch") as driver:
            driver.execute(self._delete, (topic, watch_id))
            driver.execute(self._delete_chunks, (watch_id,))

    def delete_all(self, topic: str) -> None:
        """Forget a collection's watches and how far they were told."""
        for watch_id in self.ids(topic):
            self.delete(topic=topic, watch_id=watch_id)
        with self._session.asked("deleting watches") as driver:
            driver.execute(self._delete_progress, (topic,))

    def ids(self, topic: str) -> set[str]:
        """Which watches there are of a collection."""
        with self._session.asked("reading watches") as driver:
            # The watcher may have written to a row that was deleted that moment: without a time it is none.
            return {watch_id for watch_id, created_at in driver.execute(self._select_ids, (topic,)) if created_at}

    def all(self, topic: str) -> list[StoredWatch]:
        """All watches of a collection, oldest first."""
        with self._session.asked("reading watches") as driver:
            found = [_watch(row) for row in driver.execute(self._select, (topic,)) if row[-2]]
        return sorted(found, key=lambda watch: (watch.created_at_ms, watch.id))

    def read(self, topic: str, ids: Iterable[str]) -> list[StoredWatch]:
        """The watches of these ids that are there."""
        with self._session.asked("reading watches") as driver:
            results = execute_concurrent_with_args(
                driver, self._select_one, [(topic, each) for each in ids], concurrency=CONCURRENT_REQUESTS
            )
            return [_watch(row) for result in results for row in result.result_or_exc if row[-2]]

    def read_image(self, watch_id: str) -> bytes:
        """The query image as it was given, empty when there is none."""
        with self._session.asked("reading a watch's image") as driver:
            return b"".join(chunk for (chunk,) in driver.execute(self._select_chunks, (watch_id,)))

    def embed(self, watch: StoredWatch) -> None:
        """Note the embedding that another encoder made of a watch's image."""
        with self._session.asked("embedding a watch anew") as driver:
            driver.execute(self._embed, (watch.embedding, watch.encoder, watch.topic, watch.id))

    def tell_from(self, topic: str, told_from: Mapping[str, int]) -> None:
        """Note from which offset among the matches the webhooks of these watches go on; they are taken up by that."""
        with self._session.asked("noting watches") as driver:
            values = [(offset, topic, watch_id) for watch_id, offset in told_from.items()]
            execute_concurrent_with_args(driver, self._tell_from, values, concurrency=CONCURRENT_REQUESTS)

    def progress(self, topic: str) -> dict[tuple[str, int], int]:
        """How far the watcher has come, by log and partition."""
        with self._session.asked("reading the watcher's progress") as driver:
            rows = driver.execute(self._select_progress, (topic,))
            return {(log, partition): offset for log, partition, offset in rows}

    def note_progress(self, topic: str, progress: Mapping[tuple[str, int], int]) -> None:
        """Note how far the watcher has come in these logs' partitions."""
        with self._session.asked("noting the watcher's progress") as driver:
            for (log, partition), next_offset in progress.items():
                driver.execute(self._insert_progress, (topic, log, partition, next_offset))


def _values(watch: StoredWatch) -> tuple[Any, ...]:
    image = watch.image
    values = (
        watch.topic,
        watch.id,
        watch.name,
        watch.embedding,
        watch.encoder,
        watch.max_distance,
        watch.filter,
        watch.webhook,
        watch.secret,
        msgspec.json.encode(watch.start).decode(),
        image.width if image else None,
        image.height if image else None,
        image.bytes_sha256 if image else None,
        image.pixels_sha256 if image else None,
        watch.created_at_ms,
        watch.told_from,
    )
    # A null would be a deletion with this clock's time, and hide what a watcher whose clock is behind it notes later.
    return tuple(UNSET_VALUE if value is None else value for value in values)


def _watch(row: tuple[Any, ...]) -> StoredWatch:
    (
        topic,
        watch_id,
        name,
        embedding,
        encoder,
        max_distance,
        filter_text,
        webhook,
        secret,
        start,
        *image,
        made,
        told,
    ) = row
    width, height, bytes_sha256, pixels_sha256 = image
    return StoredWatch(
        topic=topic,
        id=watch_id,
        name=name,
        embedding=embedding,
        encoder=encoder,
        max_distance=max_distance,
        filter=filter_text or "",
        webhook=webhook or "",
        secret=secret or "",
        start=msgspec.json.decode(start, type=WatchStart),
        image=None
        if width is None
        else WatchImage(width=width, height=height, bytes_sha256=bytes_sha256, pixels_sha256=pixels_sha256),
        created_at_ms=made,
        told_from=told,
    )
