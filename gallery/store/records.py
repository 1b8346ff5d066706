"""Records: what is known of each image, and the bytes as they were published."""

from collections.abc import Iterable, Iterator, Sequence, Set
from itertools import islice
from typing import Any

from cassandra.concurrent import execute_concurrent

from contract.messages import INLINE_ORIGINAL_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from gallery.store.rows import ImageRecord, RecordSummary
from gallery.store.session import CONCURRENT_REQUESTS, CassandraSession

_BUCKET_BITS = 9
_CHUNK_SIZE_BYTES = 256 * 1024
# 16 MiB: what is written at once is copied by the driver more than once.
_CHUNKS_AT_ONCE = 64
_CHUNKS_A_PAGE = 16
# Buckets of 512 rows of some 100 bytes.
_BUCKETS_AT_ONCE = 64

_COLUMNS = (
    "log, kpart, bucket, koffset, image_id, media_type, width, height, size_bytes, bytes_sha256, pixels_sha256, "
    "metadata, thumbnail, original, kafka_time, truncated"
)
_DETAILS = _COLUMNS.replace("original, ", "").replace("bucket, ", "")


class Records:
    """Image records and originals. Thread-safe. Every method raises DependencyError when Cassandra fails it."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session
        self._insert = session.prepare_insert("records", _COLUMNS)
        self._insert_chunk = session.prepare_insert("originals", "log, kpart, koffset, n, chunk")
        one = "log = ? AND kpart = ? AND bucket = ? AND koffset = ?"
        self._select_details = session.prepare(f"SELECT {_DETAILS} FROM records WHERE {one}")
        self._select_original = session.prepare(f"SELECT size_bytes, original FROM records WHERE {one}")
        self._select_summaries = session.prepare(
            "SELECT koffset, width, height, size_bytes, bytes_sha256, pixels_sha256 FROM records "
            "WHERE log = ? AND kpart = ? AND bucket = ?"
        )
        self._select_offsets = session.prepare("SELECT koffset FROM records WHERE log = ? AND kpart = ? AND bucket = ?")
        self._select_metadata = session.prepare(
            "SELECT koffset, textAsBlob(metadata) FROM records "
            "WHERE log = ? AND kpart = ? AND bucket = ? AND koffset >= ? AND koffset < ?"
        )
        self._select_buckets = session.prepare("SELECT DISTINCT log, kpart, bucket FROM records")
        self._select_chunks = session.prepare("SELECT chunk FROM originals WHERE log = ? AND kpart = ? AND koffset = ?")
        self._select_chunks.fetch_size = _CHUNKS_A_PAGE

    def write(self, records: Iterable[ImageRecord], *, time_ms: int | None = None) -> None:
        """Write what is known of images; returns when all is durable.

        Args:
            time_ms: for Cassandra, milliseconds since 1970: that of now writes over what somebody wrote or deleted by hand.
                None is Kafka's.
        """
        rows = (
            (
                (
                    *_row_key(r.key),
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
                r.kafka_time_ms if time_ms is None else time_ms,
            )
            for r in records
        )
        self._session.write(self._insert, rows, partition_columns=3, doing="writing records")

    def write_originals(self, originals: Iterable[tuple[RecordKey, bytes, int]]) -> None:
        """Write originals that are too large for an `ImageRecord`, as (key, bytes, kafka_time_ms); as `write`."""
        rows: Iterator[tuple[tuple[Any, ...], int]] = (
            ((*key, n, value[at : at + _CHUNK_SIZE_BYTES]), time_ms)
            for key, value, time_ms in originals
            for n, at in enumerate(range(0, len(value), _CHUNK_SIZE_BYTES))
        )
        while part := list(islice(rows, _CHUNKS_AT_ONCE)):
            self._session.write(self._insert_chunk, part, partition_columns=3, doing="writing originals")

    def read(self, keys: Sequence[RecordKey]) -> dict[RecordKey, ImageRecord]:
        """What is known of the images that these records brought, without originals; keys without a row are left out."""
        wanted = [(self._select_details, _row_key(key)) for key in keys]
        with self._session.asked("reading records") as driver:
            results = execute_concurrent(driver, wanted, concurrency=CONCURRENT_REQUESTS)
            records = [_record(row) for result in results for row in result.result_or_exc]
        return {record.key: record for record in records}

    def read_metadata(self, start: RecordKey, end_offset: int) -> dict[int, str]:
        """Metadata by offset of the images that records of a partition brought, from `start` up to below `end_offset`."""
        found: dict[int, str] = {}
        with self._session.asked("reading metadata") as driver:
            for bucket in range(start.offset >> _BUCKET_BITS, ((end_offset - 1) >> _BUCKET_BITS) + 1):
                place = (start.log, start.partition, bucket, start.offset, end_offset)
                for offset, metadata in driver.execute(self._select_metadata, place):
                    found[offset] = (metadata or b"").decode("utf-8", "surrogateescape")
        return found

    def summaries(self, keys: Iterable[RecordKey]) -> Iterator[RecordSummary]:
        """What tells whether these records' images are the same, bucket by bucket; keys without a row are left out."""
        wanted: dict[tuple[str, int, int], set[int]] = {}
        for key in keys:
            wanted.setdefault(_row_key(key)[:3], set()).add(key.offset)
        buckets = iter(sorted(wanted))
        while part := list(islice(buckets, _BUCKETS_AT_ONCE)):
            asked = [(self._select_summaries, bucket) for bucket in part]
            with self._session.asked("reading records") as driver:
                results = execute_concurrent(driver, asked, concurrency=CONCURRENT_REQUESTS)
                rows = [list(result.result_or_exc) for result in results]
            for bucket, found in zip(part, rows, strict=True):
                for offset, *told in found:
                    if offset in wanted[bucket]:
                        yield RecordSummary(RecordKey(bucket[0], bucket[1], offset), *told)

    def read_original(self, key: RecordKey) -> bytes | None:
        """The published bytes, or None when the record brought no image."""
        with self._session.asked("reading an original") as driver:
            row = driver.execute(self._select_original, _row_key(key)).one()
            if row is None:
                return None
            size_bytes, original = row
            if (size_bytes or 0) <= INLINE_ORIGINAL_SIZE_BYTES_MAX:
                return bytes(original or b"")
            return b"".join(chunk for (chunk,) in driver.execute(self._select_chunks, key))

    def read_originals(self, keys: Sequence[RecordKey]) -> Iterator[tuple[RecordKey, bytes | None]]:
        """What `read_original` reads, of many: those that are small side by side."""
        with self._session.asked("reading originals") as driver:
            wanted = [(self._select_original, _row_key(key)) for key in keys]
            results = execute_concurrent(driver, wanted, concurrency=CONCURRENT_REQUESTS)
            rows = [result.result_or_exc.one() for result in results]
        for key, row in zip(keys, rows, strict=True):
            is_small = row is not None and row[1] is not None and row[0] <= INLINE_ORIGINAL_SIZE_BYTES_MAX
            yield key, bytes(row[1]) if is_small else self.read_original(key)

    def keys(self, log: str) -> Iterator[RecordKey]:
        """Every record of `log` that brought an image, by partition and offset. Reads every partition key: seldom."""
        with self._session.asked("listing records") as driver:
            found = sorted((p, b) for key_log, p, b in driver.execute(self._select_buckets) if key_log == log)
            for partition, bucket in found:
                for (offset,) in driver.execute(self._select_offsets, (log, partition, bucket)):
                    yield RecordKey(log, partition, offset)

    def delete(self, logs: Set[str]) -> None:
        """Delete what is known of every image of these logs, and its bytes."""
        self._session.delete("originals", "log, kpart, koffset", logs=logs, doing="deleting originals")
        self._session.delete("records", "log, kpart, bucket", logs=logs, doing="deleting records")


def _row_key(key: RecordKey) -> tuple[str, int, int, int]:
    """The primary key of a row of `records`."""
    return key.log, key.partition, key.offset >> _BUCKET_BITS, key.offset


def _record(row: tuple[Any, ...]) -> ImageRecord:
    log, partition, offset, *known, kafka_time_ms, is_truncated = row
    # The last one is null where the row is older than the column.
    return ImageRecord(*(RecordKey(log, partition, offset), *known, None, kafka_time_ms, bool(is_truncated)))
