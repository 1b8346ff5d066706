"""The feed: one row for every Kafka record and encoder, which says what became of it; and the logs that a gallery consists of.

A row is written last, after everything that it promises. The table's column ``encoder`` holds the encoder's fingerprint.
"""

from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import replace

import numpy as np
from cassandra.query import UNSET_VALUE

from contract.record_key import RecordKey
from gallery.store.feed_rows import FEED_VERSION, feed_rows, sound_after
from gallery.store.lately import Lately
from gallery.store.records import Records
from gallery.store.rows import FeedRow
from gallery.store.session import CassandraSession

FEED_BUCKET_BITS = 13
_SMALL_HOLE_OFFSETS = 64
_WALK_ROWS = 2048
# What is read of an image at most. Rows without embeddings take some 200 bytes.
IMAGE_ROWS_MAX = 20_000

_COLUMNS = (
    "log, encoder, kpart, bucket, koffset, after, outcome, reason, image_id, embedding, kafka_time, embedded_at, metadata, "
    "request_id, traceparent, version"
)
_PARTITION = "log = ? AND encoder = ? AND kpart = ? AND bucket = ?"

# Buckets by log and encoder's fingerprint, then by Kafka partition.
_Listing = dict[tuple[str, str], dict[int, list[int]]]


class Feed:
    """Feed rows and logs. Thread-safe. Every method raises DependencyError when Cassandra fails it.

    Whatever gives out rows raises NewerVersionError, which is one, at a row that a newer version wrote, and gives out those before it.

    Where a method takes a `RecordKey`, it is a place in a log's partition, whether a record stands there or not.

    Args:
        records: tell the metadata of images whose row an earlier version wrote.
        clock: seconds since 1970.
    """

    def __init__(self, session: CassandraSession, records: Records, clock: Callable[[], float]) -> None:
        self._session = session
        self._records = records
        self._clock = clock
        # One reading at a time, which all who can use it share.
        self._listing = Lately(self._list)
        self._insert = session.prepare_insert("feed", _COLUMNS)
        self._select = session.prepare(
            # Texts as bytes: the driver fails a whole page for one that is not UTF-8.
            "SELECT koffset, after, textAsBlob(outcome), textAsBlob(reason), textAsBlob(image_id), embedding, kafka_time, "
            "embedded_at, textAsBlob(metadata), textAsBlob(request_id), textAsBlob(traceparent), version FROM feed "
            f"WHERE {_PARTITION} AND koffset >= ? LIMIT ?"
        )
        self._select_one = session.prepare(f"SELECT koffset FROM feed WHERE {_PARTITION} AND koffset = ?")
        self._delete_one = session.prepare(f"DELETE FROM feed WHERE {_PARTITION} AND koffset = ?")
        self._select_links = session.prepare(f"SELECT koffset, after FROM feed WHERE {_PARTITION} AND koffset >= ?")
        self._select_buckets = session.prepare("SELECT DISTINCT log, encoder, kpart, bucket FROM feed")
        self._select_image = session.prepare(
            "SELECT kpart, koffset, after, textAsBlob(outcome), textAsBlob(reason), kafka_time, embedded_at, version FROM feed "
            f"WHERE image_id = ? AND log = ? AND encoder = ? LIMIT {IMAGE_ROWS_MAX + 1} ALLOW FILTERING"
        )
        self._select_logs = session.prepare("SELECT log, first_seen FROM logs WHERE topic = ?")
        self._select_all_logs = session.prepare("SELECT topic, log, first_seen FROM logs")
        self._insert_log = session.prepare("INSERT INTO logs (topic, log, first_seen) VALUES (?, ?, ?)")
        self._delete_logs = session.prepare("DELETE FROM logs WHERE topic = ?")

    def add_log(self, *, topic: str, log: str) -> None:
        """Note that the gallery consists of `log` too; noting it again changes nothing."""
        if log not in self.logs(topic):
            with self._session.asked("writing logs") as driver:
                driver.execute(self._insert_log, (topic, log, self._now_ms()))

    def logs(self, topic: str) -> list[str]:
        """The topic's logs, the one seen first in front."""
        with self._session.asked("reading logs") as driver:
            rows = list(driver.execute(self._select_logs, (topic,)))
        return _in_order(rows)

    def logs_by_topic(self, wait_s: float | None = None) -> dict[str, list[str]]:
        """The logs of every topic, each topic's in the order of `logs`: one question for many topics.

        Args:
            wait_s: for how long an answer is waited for; None is as long as for any.
        """
        found: dict[str, list[tuple[str, int]]] = {}
        with self._session.asked("reading logs") as driver:
            for topic, log, first_seen in driver.execute(self._select_all_logs, **_within(wait_s)):
                found.setdefault(topic, []).append((log, first_seen))
        return {topic: _in_order(rows) for topic, rows in found.items()}

    def write(self, feed_rows: Iterable[FeedRow], *, fingerprint: str, over_all: bool = False) -> None:
        """Write an encoder's rows; nothing that they promise may be missing by now. Returns when all are durable.

        Args:
            over_all: also over what somebody wrote or deleted by hand, to which Cassandra gave the time of that moment.
        """
        now_ms = self._now_ms()
        rows = (
            (
                (
                    *_bucket(r.key, fingerprint),
                    r.key.offset,
                    r.after,
                    r.outcome,
                    r.reason,
                    r.image_id,
                    None if r.embedding is None else np.frombuffer(r.embedding, "<f4").astype(">f4").tobytes(),
                    r.kafka_time_ms,
                    r.embedded_at_ms or now_ms,
                    r.metadata,
                    *(told or UNSET_VALUE for told in r.origin),
                    FEED_VERSION,
                ),
                now_ms if over_all else r.kafka_time_ms,
            )
            for r in feed_rows
        )
        self._session.write(self._insert, rows, partition_columns=4, doing="writing the feed")

    def read(
        self, start: RecordKey, limit: int, *, fingerprint: str, past_holes: bool = False, listing_age_s: float = 0.0
    ) -> list[FeedRow]:
        """Rows at or past `start` in offset order, from its bucket or, near that one's end, the next.

        Args:
            past_holes: look behind a hole of any width, so that an empty answer proves the end. Where there are no rows
                nearby that reads every partition key of the feed: seldom.
            listing_age_s: such a reading that is no older will do; where it is not 0, also what `Lately` then gives.
        """
        bucket = start.offset >> FEED_BUCKET_BITS
        # A small hole, such as a transaction's marker, may end this bucket; asking always would double an idle poll's cost.
        is_near_end = (start.offset + _SMALL_HOLE_OFFSETS) >> FEED_BUCKET_BITS > bucket
        for b in (bucket, bucket + 1) if is_near_end else (bucket,):
            if found := self._read_bucket(b, start, limit, fingerprint):
                return found
        if past_holes and (behind := self._next_bucket(start, fingerprint, listing_age_s)) is not None:
            return self._read_bucket(behind, start, limit, fingerprint)
        return []

    def of_image(self, image_id: str, log: str, *, fingerprint: str) -> tuple[list[FeedRow], bool]:
        """Rows of the records of an id, by partition and offset, without embeddings and metadata; and whether that is all.

        Of an id with more than `IMAGE_ROWS_MAX` any may be missing. Until Cassandra has made its index, which it does once
        in the background, it fails.
        """
        with self._session.asked("reading an image's history") as driver:
            found = list(driver.execute(self._select_image, (image_id, log, fingerprint)))
        rows = [
            row
            for partition, offset, after, outcome, reason, *times, version in found[:IMAGE_ROWS_MAX]
            for row in feed_rows(
                RecordKey(log, partition, offset),
                [(offset, after, outcome, reason, b"", None, *times, None, None, None, version)],
            )
        ]
        rows = [replace(row, image_id=image_id) for row in rows]
        return sorted(rows, key=lambda row: row.key), len(found) <= IMAGE_ROWS_MAX

    def walk(self, start: RecordKey, *, fingerprint: str, end_offset: int | None = None) -> Iterator[FeedRow]:
        """All rows of a partition from `start` on, and below `end_offset` if there is one, across holes."""
        while end_offset is None or start.offset < end_offset:
            rows = self.read(start, _WALK_ROWS, fingerprint=fingerprint, past_holes=True)
            if not rows:
                return
            for row in rows:
                if end_offset is not None and row.key.offset >= end_offset:
                    return
                yield row
            start = start._replace(offset=rows[-1].key.offset + 1)

    def next_offset(self, committed: RecordKey, *, fingerprint: str) -> int:
        """First offset that the partition's feed lacks.

        Args:
            committed: the consumer group's committed offset, 0 without one. When the feed holds the row before it, the
                walk begins there; otherwise rows were lost (a wiped or restored store) and it begins at offset 0.
        """
        before = committed._replace(offset=committed.offset - 1)
        offset = committed.offset if committed.offset and self._has(before, fingerprint) else 0
        while True:
            place = committed._replace(offset=offset)
            bucket = offset >> FEED_BUCKET_BITS
            links = self._links(bucket, place, fingerprint) + self._links(bucket + 1, place, fingerprint)
            if not links:
                behind = self._next_bucket(place, fingerprint)
                if behind is None:
                    return offset
                links = self._links(behind, place, fingerprint)
            for koffset, after in links:
                if sound_after(after, koffset) > offset:
                    return offset
                offset = koffset + 1

    def partitions(self, log: str, *, fingerprint: str, listing_age_s: float = 0.0) -> set[int]:
        """Kafka partitions of `log` that have rows of this encoder. Reads every partition key, unless that was done lately: seldom."""
        return set(self._listing.get(listing_age_s).get((log, fingerprint), {}))

    def fingerprints(self, log: str) -> set[str]:
        """Of the encoders that have rows of `log`. Reads every partition key: seldom."""
        return {fingerprint for name, fingerprint in self._listing.get(0) if name == log}

    def delete(self, logs: Set[str]) -> None:
        """Delete every row of these logs, of every encoder."""
        self._session.delete("feed", "log, encoder, kpart, bucket", logs=logs, doing="deleting a feed")

    def remove(self, keys: Iterable[RecordKey], *, fingerprint: str) -> None:
        """Delete single rows of an encoder, which belong to no record."""
        with self._session.asked("deleting feed rows") as driver:
            for key in keys:
                driver.execute(self._delete_one, (*_bucket(key, fingerprint), key.offset))

    def forget_logs(self, topic: str) -> None:
        """Forget which logs a topic has had."""
        with self._session.asked("deleting logs") as driver:
            driver.execute(self._delete_logs, (topic,))

    def _read_bucket(self, bucket: int, start: RecordKey, limit: int, fingerprint: str) -> list[FeedRow]:
        with self._session.asked("reading the feed") as driver:
            found = driver.execute(self._select, (start.log, fingerprint, start.partition, bucket, start.offset, limit))
            rows = feed_rows(start, found)
        return self._with_metadata(rows)

    def _with_metadata(self, rows: list[FeedRow]) -> list[FeedRow]:
        """The rows, those of an earlier version with their records' metadata."""
        lacking = [row.key for row in rows if row.outcome == "put" and row.metadata is None]
        if not lacking:
            return rows
        told = self._records.read_metadata(lacking[0], lacking[-1].offset + 1)
        return [
            replace(row, metadata=told.get(row.key.offset, ""))
            if row.outcome == "put" and row.metadata is None
            else row
            for row in rows
        ]

    def _links(self, bucket: int, start: RecordKey, fingerprint: str) -> list[tuple[int, int | None]]:
        with self._session.asked("walking the feed") as driver:
            values = (start.log, fingerprint, start.partition, bucket, start.offset)
            return list(driver.execute(self._select_links, values))

    def _has(self, key: RecordKey, fingerprint: str) -> bool:
        with self._session.asked("reading the feed") as driver:
            return driver.execute(self._select_one, (*_bucket(key, fingerprint), key.offset)).one() is not None

    def _next_bucket(self, start: RecordKey, fingerprint: str, listing_age_s: float = 0.0) -> int | None:
        """The first bucket past `start`'s that holds rows."""
        buckets = self._listing.get(listing_age_s).get((start.log, fingerprint), {})
        bucket = start.offset >> FEED_BUCKET_BITS
        return min((found for found in buckets.get(start.partition, ()) if found > bucket), default=None)

    def _list(self, wait_s: float | None) -> _Listing:
        """Every bucket of the feed."""
        listed: _Listing = {}
        with self._session.asked("listing feed partitions") as driver:
            for log, fingerprint, partition, bucket in driver.execute(self._select_buckets, **_within(wait_s)):
                listed.setdefault((log, fingerprint), {}).setdefault(partition, []).append(bucket)
        return listed

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


def _in_order(rows: Iterable[tuple[str, int]]) -> list[str]:
    """Names of logs, the one seen first in front."""
    return [log for log, _ in sorted(rows, key=lambda row: (row[1], row[0]))]


def _within(wait_s: float | None) -> dict[str, float]:
    """As the driver takes it; without it, it waits as its profile says."""
    return {} if wait_s is None else {"timeout": wait_s}


def _bucket(key: RecordKey, fingerprint: str) -> tuple[str, str, int, int]:
    """The feed's partition key of a row."""
    return key.log, fingerprint, key.partition, key.offset >> FEED_BUCKET_BITS
