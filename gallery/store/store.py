"""The Cassandra store: writes rows so that they are durable, reads them back in Kafka's order.

Rows of one partition travel together in unlogged batches of at most 1 MiB; statements are prepared and idempotent and
run at LOCAL_QUORUM. Cassandra's timestamps are Kafka's and decide nothing: rows of one record never differ.
"""

import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cassandra import ConsistencyLevel, CoordinationFailure, OperationTimedOut, Timeout, Unavailable
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.concurrent import execute_concurrent
from cassandra.connection import ConnectionBusy, ConnectionException
from cassandra.policies import (
    DCAwareRoundRobinPolicy,
    ExponentialReconnectionPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import (
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    TruncateError,
)
from cassandra.query import BatchStatement, BatchType, PreparedStatement, tuple_factory

from contract.errors import DependencyError
from contract.messages import INLINE_ORIGINAL_SIZE_BYTES_MAX
from contract.settings import Settings
from gallery.store.rows import FeedRow, ImageRecord, RecordKey

FEED_BUCKET_BITS = 13
RECORDS_BUCKET_BITS = 9
SMALL_HOLE_OFFSETS = 64
CHUNK_SIZE_BYTES = 256 * 1024
# 16 MiB: what is written at once is copied by the driver more than once.
CHUNKS_AT_ONCE = 64
CHUNKS_A_PAGE = 16
BATCH_SIZE_BYTES_MAX = 1024 * 1024
# 64 rows a batch: measured 4.5 ms against 6.6 ms for 256, and two batches fill both cores.
BATCH_ROWS_MAX = 64
CONCURRENT_REQUESTS = 16
REQUEST_TIMEOUT_S = 12.0
BUSY_PAUSE_S = 0.005

FAILURES = (
    NoHostAvailable,
    OperationTimedOut,
    Timeout,
    Unavailable,
    CoordinationFailure,
    ConnectionException,
    IsBootstrappingErrorMessage,
    OverloadedErrorMessage,
    ServerError,
    TruncateError,
    OSError,
)

_FEED = "log, encoder, kpart, bucket, koffset, after, outcome, reason, image_id, embedding, kafka_time, embedded_at"
_RECORDS = (
    "log, kpart, bucket, koffset, image_id, media_type, width, height, size_bytes, bytes_sha256, pixels_sha256, "
    "metadata, thumbnail, original, kafka_time, truncated"
)
_DETAILS = _RECORDS.replace("original, ", "").replace("bucket, ", "")


class Store:
    """One session with Cassandra. Thread-safe. Every method raises DependencyError when Cassandra fails it."""

    def __init__(self, cluster: Cluster, session: Session) -> None:
        self._cluster = cluster
        self._session = session
        prepare = session.prepare
        self._insert_feed = prepare(_insert("feed", _FEED))
        self._insert_record = prepare(_insert("records", _RECORDS))
        self._insert_chunk = prepare(_insert("originals", "log, kpart, koffset, n, chunk"))
        feed_key = "log = ? AND encoder = ? AND kpart = ? AND bucket = ?"
        self._select_feed = prepare(
            # Texts as bytes: the driver fails a whole page for one that is not UTF-8.
            "SELECT koffset, after, textAsBlob(outcome), textAsBlob(reason), textAsBlob(image_id), embedding, kafka_time, "
            "embedded_at FROM feed "
            f"WHERE {feed_key} AND koffset >= ? LIMIT ?"
        )
        self._select_feed_row = prepare(f"SELECT koffset FROM feed WHERE {feed_key} AND koffset = ?")
        self._select_links = prepare(f"SELECT koffset, after FROM feed WHERE {feed_key} AND koffset >= ?")
        self._select_feed_keys = prepare("SELECT DISTINCT log, encoder, kpart, bucket FROM feed")
        record_key = "log = ? AND kpart = ? AND bucket = ? AND koffset = ?"
        self._select_details = prepare(f"SELECT {_DETAILS} FROM records WHERE {record_key}")
        self._select_original = prepare(f"SELECT size_bytes, original FROM records WHERE {record_key}")
        self._select_offsets = prepare("SELECT koffset FROM records WHERE log = ? AND kpart = ? AND bucket = ?")
        self._select_record_keys = prepare("SELECT DISTINCT log, kpart, bucket FROM records")
        self._select_chunks = prepare("SELECT chunk FROM originals WHERE log = ? AND kpart = ? AND koffset = ?")
        self._select_chunks.fetch_size = CHUNKS_A_PAGE
        self._select_logs = prepare("SELECT log, first_seen FROM logs WHERE topic = ?")
        self._insert_log = prepare("INSERT INTO logs (topic, log, first_seen) VALUES (?, ?, ?)")

    @classmethod
    def connect(cls, settings: Settings) -> "Store":
        """Connect, and create keyspace and tables that are missing (one node's replication; see docs/operations.md)."""
        keyspace = settings.cassandra_keyspace
        # Without TCP_NODELAY a batch of 16 rows takes 47 ms instead of 4 (Nagle and delayed acknowledgement).
        cluster = Cluster(
            settings.cassandra_hosts.split(","),
            port=settings.cassandra_port,
            sockopts=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            reconnection_policy=ExponentialReconnectionPolicy(0.2, 5.0),
            execution_profiles={EXEC_PROFILE_DEFAULT: _profile()},
            connect_timeout=5.0,
            protocol_version=5,
        )
        try:
            with _cassandra("connecting"):
                session = cluster.connect()
                session.execute(
                    f"CREATE KEYSPACE IF NOT EXISTS {keyspace} "
                    "WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
                )
                session.set_keyspace(keyspace)
                for statement in _schema_statements():
                    session.execute(statement)
                return cls(cluster, session)
        except BaseException:
            cluster.shutdown()
            raise

    def close(self) -> None:
        """Close all connections."""
        self._cluster.shutdown()

    # Writing: each returns when all rows are durable.

    def write_originals(self, originals: Iterable[tuple[RecordKey, bytes, int]]) -> None:
        """Write originals that are too large for `records`, as (key, bytes, kafka_time_ms)."""
        rows = (
            ((key.log, key.partition, key.offset, n, value[at : at + CHUNK_SIZE_BYTES]), time_ms)
            for key, value, time_ms in originals
            for n, at in enumerate(range(0, len(value), CHUNK_SIZE_BYTES))
        )
        while part := list(islice(rows, CHUNKS_AT_ONCE)):
            self._write(self._insert_chunk, part, partition_columns=3, doing="writing originals")

    def write_records(self, records: Iterable[ImageRecord]) -> None:
        """Write what is known of images."""
        rows = (
            (
                (
                    r.log,
                    r.partition,
                    r.offset >> RECORDS_BUCKET_BITS,
                    r.offset,
                    r.image_id,
                    r.media_type,
                    r.width,
                    r.height,
                    r.size_bytes,
                    r.bytes_sha256,
                    r.pixels_sha256,
                    r.metadata,
                    r.thumbnail,
                    r.original,
                    r.kafka_time_ms,
                    r.is_truncated,
                ),
                r.kafka_time_ms,
            )
            for r in records
        )
        self._write(self._insert_record, rows, partition_columns=3, doing="writing records")

    def write_feed(self, encoder: str, feed_rows: Iterable[FeedRow]) -> None:
        """Write feed rows under the encoder's fingerprint; nothing that they promise may be missing by now."""
        now_ms = time.time_ns() // 1_000_000
        rows = (
            (
                (
                    r.log,
                    encoder,
                    r.partition,
                    r.offset >> FEED_BUCKET_BITS,
                    r.offset,
                    r.after,
                    r.outcome,
                    r.reason,
                    r.image_id,
                    None if r.embedding is None else np.frombuffer(r.embedding, "<f4").astype(">f4").tobytes(),
                    r.kafka_time_ms,
                    r.embedded_at_ms or now_ms,
                ),
                r.kafka_time_ms,
            )
            for r in feed_rows
        )
        self._write(self._insert_feed, rows, partition_columns=4, doing="writing the feed")

    def add_log(self, topic: str, log: str) -> None:
        """Note that the gallery consists of `log` too; noting it again changes nothing."""
        if log not in self.logs(topic):
            with _cassandra("writing logs"):
                self._session.execute(self._insert_log, (topic, log, time.time_ns() // 1_000_000))

    # Reading.

    def logs(self, topic: str) -> list[str]:
        """The topic's logs, the one seen first in front."""
        with _cassandra("reading logs"):
            rows = list(self._session.execute(self._select_logs, (topic,)))
        return [log for log, _ in sorted(rows, key=lambda row: (row[1], row[0]))]

    def read_feed(self, log: str, encoder: str, partition: int, start_offset: int, limit: int) -> list[FeedRow]:
        """Rows at or past `start_offset` in offset order, from its bucket or, near that one's end, the next.

        An empty answer does not prove the end: a hole may be wider, see `next_feed_bucket`.
        """
        bucket = start_offset >> FEED_BUCKET_BITS
        # A small hole, such as a transaction's marker, may end this bucket; asking always would double an idle poll's cost.
        is_near_end = (start_offset + SMALL_HOLE_OFFSETS) >> FEED_BUCKET_BITS > bucket
        with _cassandra("reading the feed"):
            for b in (bucket, bucket + 1) if is_near_end else (bucket,):
                key = (log, encoder, partition, b, start_offset, limit)
                rows = self._session.execute(self._select_feed, key)
                found = [_feed_row(log, partition, row) for row in rows]
                if found:
                    return found
        return []

    def feed_partitions(self, log: str, encoder: str) -> set[int]:
        """Kafka partitions of `log` that have feed rows. Reads every partition key: seldom."""
        with _cassandra("listing feed partitions"):
            keys = self._session.execute(self._select_feed_keys)
            return {
                partition for key_log, key_encoder, partition, _ in keys if (key_log, key_encoder) == (log, encoder)
            }

    def feed_encoders(self, log: str) -> set[str]:
        """Fingerprints of the encoders that have feed rows of `log`. Reads every partition key: seldom."""
        with _cassandra("listing encoders"):
            keys = self._session.execute(self._select_feed_keys)
            return {encoder for key_log, encoder, _, _ in keys if key_log == log}

    def next_feed_bucket(self, log: str, encoder: str, partition: int, start_offset: int) -> int | None:
        """First offset of the first bucket past `start_offset`'s that holds rows. Reads every partition key: seldom."""
        with _cassandra("looking for feed buckets"):
            keys = self._session.execute(self._select_feed_keys)
            buckets = [
                b for *key, b in keys if key == [log, encoder, partition] and b > start_offset >> FEED_BUCKET_BITS
            ]
        return min(buckets) << FEED_BUCKET_BITS if buckets else None

    def next_feed_offset(self, log: str, encoder: str, partition: int, committed: int) -> int:
        """First offset that the feed lacks.

        Args:
            committed: the consumer group's committed offset, 0 without one. When the feed holds the row before it, the
                walk begins there; otherwise rows were lost (a wiped or restored store) and it begins at offset 0.
        """
        offset = committed if committed and self._has_feed_row(log, encoder, partition, committed - 1) else 0
        while True:
            bucket = offset >> FEED_BUCKET_BITS
            links: list[tuple[int, int]] = []
            with _cassandra("walking the feed"):
                for b in (bucket, bucket + 1):
                    links += self._session.execute(self._select_links, (log, encoder, partition, b, offset))
            if not links:
                start = self.next_feed_bucket(log, encoder, partition, offset)
                if start is None:
                    return offset
                with _cassandra("walking the feed"):
                    b = start >> FEED_BUCKET_BITS
                    links = list(self._session.execute(self._select_links, (log, encoder, partition, b, start)))
            for koffset, after in links:
                if _sound_after(after, koffset) > offset:
                    return offset
                offset = koffset + 1

    def read_records(self, keys: Sequence[RecordKey]) -> dict[RecordKey, ImageRecord]:
        """Details of the images that these records brought, without originals; keys without a row are left out."""
        wanted = [(self._select_details, _record_key(key)) for key in keys]
        found = {}
        with _cassandra("reading records"):
            for result in execute_concurrent(self._session, wanted, concurrency=CONCURRENT_REQUESTS):
                for row in result.result_or_exc:
                    # The last one is null where the row is older than the column.
                    record = ImageRecord(*(*row[:-2], None, row[-2], bool(row[-1])))
                    found[RecordKey(record.log, record.partition, record.offset)] = record
        return found

    def read_original(self, key: RecordKey) -> bytes | None:
        """The published bytes, or None when the record brought no image."""
        with _cassandra("reading an original"):
            row = self._session.execute(self._select_original, _record_key(key)).one()
            if row is None:
                return None
            size_bytes, original = row
            if size_bytes <= INLINE_ORIGINAL_SIZE_BYTES_MAX:
                return bytes(original)
            return b"".join(chunk for (chunk,) in self._session.execute(self._select_chunks, key))

    def record_offsets(self, log: str) -> Iterator[RecordKey]:
        """Every record of `log` that brought an image, by partition and offset."""
        with _cassandra("listing records"):
            keys = sorted((p, b) for key_log, p, b in self._session.execute(self._select_record_keys) if key_log == log)
            for partition, bucket in keys:
                for (offset,) in self._session.execute(self._select_offsets, (log, partition, bucket)):
                    yield RecordKey(log, partition, offset)

    def _has_feed_row(self, log: str, encoder: str, partition: int, offset: int) -> bool:
        with _cassandra("reading the feed"):
            key = (log, encoder, partition, offset >> FEED_BUCKET_BITS, offset)
            return self._session.execute(self._select_feed_row, key).one() is not None

    def _write(
        self,
        statement: PreparedStatement,
        rows: Iterable[tuple[tuple[Any, ...], int]],
        *,
        partition_columns: int,
        doing: str,
    ) -> None:
        """Write (values, kafka_time_ms) rows in batches of one Cassandra partition each."""
        by_partition: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
        for values, time_ms in rows:
            by_partition.setdefault(values[:partition_columns], []).append((*values, time_ms * 1000))
        batches = [(batch, None) for group in by_partition.values() for batch in _batches(statement, group)]
        with _cassandra(doing):
            while batches:
                results = execute_concurrent(
                    self._session, batches, concurrency=CONCURRENT_REQUESTS, raise_on_first_error=False
                )
                failures = [None if result.success else result.result_or_exc for result in results]
                for failure in failures:
                    if failure and not _is_busy(failure):
                        raise failure
                for (batch, _), failure in zip(batches, failures, strict=True):
                    if not failure:
                        batch.clear()  # the driver's timer would hold on to its rows for another 12 s
                batches = [each for each, failure in zip(batches, failures, strict=True) if failure]
                if batches:
                    time.sleep(BUSY_PAUSE_S)


def _is_busy(failure: Exception) -> bool:
    """Whether the driver did not send a request because the socket's buffer was full, as large originals make it."""
    return isinstance(failure, NoHostAvailable) and all(
        isinstance(reason, ConnectionBusy) for reason in dict(failure.errors).values()
    )


def _batches(statement: PreparedStatement, rows: list[tuple[Any, ...]]) -> Iterator[BatchStatement]:
    batch, size = BatchStatement(batch_type=BatchType.UNLOGGED), 0
    for row in rows:
        row_size = sum(len(value) for value in row if isinstance(value, bytes | str))
        if batch and (len(batch) == BATCH_ROWS_MAX or size + row_size > BATCH_SIZE_BYTES_MAX):
            yield batch
            batch, size = BatchStatement(batch_type=BatchType.UNLOGGED), 0
        batch.add(statement, row)
        size += row_size
    if batch:
        yield batch


def _insert(table: str, columns: str) -> str:
    marks = ", ".join("?" for _ in columns.split(","))
    return f"INSERT INTO {table} ({columns}) VALUES ({marks}) USING TIMESTAMP ?"


def _schema_statements() -> list[str]:
    text = Path(__file__).with_name("schema.cql").read_text()
    code = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement for statement in code.split(";") if statement.strip()]


def _profile() -> ExecutionProfile:
    return ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy()),
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=REQUEST_TIMEOUT_S,
        row_factory=tuple_factory,
    )


def _record_key(key: RecordKey) -> tuple[str, int, int, int]:
    return key.log, key.partition, key.offset >> RECORDS_BUCKET_BITS, key.offset


def _feed_row(log: str, partition: int, row: tuple[Any, ...]) -> FeedRow:
    """A row as it is stored; what is missing or damaged is left for its reader to see."""
    offset, after, outcome, reason, image_id, blob, ms, embedded_ms = row
    return FeedRow(
        log,
        partition,
        offset,
        _sound_after(after, offset),
        _text(outcome),  # type: ignore[arg-type]
        _text(reason),
        _text(image_id),
        _native(blob),
        -1 if ms is None else ms,
        embedded_ms or 0,
    )


def _sound_after(after: int | None, offset: int) -> int:
    """Without a proof that nothing lies before the row, only the row itself is known."""
    return after if after is not None and 0 <= after <= offset else offset


def _text(blob: bytes | None) -> str:
    """A stored text; what is not UTF-8 becomes lone surrogates, which no id, outcome or reason has."""
    return "" if blob is None else blob.decode("utf-8", "surrogateescape")


def _native(blob: bytes | None) -> bytes | None:
    """Little-endian float32; bytes that are no such numbers stay as they are."""
    return blob if blob is None or len(blob) % 4 else np.frombuffer(blob, ">f4").astype("<f4").tobytes()


@contextmanager
def _cassandra(doing: str) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise DependencyError("cassandra", f"{doing} failed: {type(error).__name__}: {error}") from error
