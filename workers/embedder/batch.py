"""What the embedder does with a batch of records: judge each, then make the outcome durable in the promised order.

Everything here blocks; decoding and encoding happen in the decoder's child process.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog

from contract import telemetry
from contract.errors import RejectedError
from contract.messages import (
    INLINE_ORIGINAL_SIZE_BYTES_MAX,
    Headers,
    Rejection,
    check_value,
    image_id_of,
    metadata_of,
)
from contract.record_key import RecordKey
from gallery.generations.fold import EXPIRED
from gallery.store.rows import FeedRow, ImageRecord, Outcome
from gallery.store.store import Store
from model.pictures.decoder import Decoded, Decoder
from runtime.failpoints import failpoint
from runtime.retrying import retrying
from topics.batch_publisher import BatchPublisher
from topics.rejected import rejected_message
from topics.topic import Topic

logger = structlog.get_logger()


class Record(NamedTuple):
    """One Kafka record as it was read.

    Attributes:
        after: position from which it was reached, see `gallery.store.rows.FeedRow`.
        is_expired: Kafka may have expired records in [after, offset).
        is_gap: no record stands at the offset either, see `workers.embedder.stretches.Reached`.
    """

    partition: int
    offset: int
    after: int
    is_expired: bool
    kafka_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    is_gap: bool = False


class Judged(NamedTuple):
    """What became of one record; `verdict` is an image's alone, `detail` a rejected record's."""

    record: Record
    outcome: Outcome
    reason: str
    detail: str
    image_id: str
    metadata: str
    verdict: Decoded | None


class Batch(NamedTuple):
    """Judged records on their way to Cassandra, and whether they still belong to the log."""

    judged: list[Judged]
    verified: Future[None]
    timer: "Timer"


class BatchEmbedder:
    """Embeds batches of one log. `judge` and `write` may run at once, each for one batch at a time; when `write` returns,
    everything about the batch is durable."""

    def __init__(
        self,
        topic: Topic,
        log_of_topic: str,
        encoder_fingerprint: str,
        decoder: Decoder,
        store: Store,
        rejected: BatchPublisher,
        stop: threading.Event,
    ) -> None:
        self._topic = topic
        self._log = log_of_topic
        self._encoder = encoder_fingerprint
        self._decoder = decoder
        self._store = store
        self._rejected = rejected
        self._stop = stop
        self._verifying = ThreadPoolExecutor(1, thread_name_prefix="topic")

    def warm_up(self) -> None:
        """Start the decoder's child, so that the first image does not wait for it."""
        self._decoder.decode([])

    def judge(self, records: Sequence[Record]) -> Batch:
        """What becomes of the records; nothing is written.

        Raises:
            StoppedError: the process is to end.
        """
        failpoint("embedder-after-fetch")
        timer = Timer()
        with timer("judge"):
            # Overlapped with decoding, but before anything is written: the records were fetched by the topic's name.
            verified = self._verifying.submit(retrying, lambda: self._topic.verify(self._log), "kafka", self._stop)
            return Batch(self._judge(records), verified, timer)

    def write(self, batch: Batch) -> None:
        """Write originals, details, rejected messages and feed rows, in this order.

        Raises:
            TopicReplacedError: the records may belong to another topic of the same name; nothing was written.
            StoppedError: the process is to end; what is missing is done again by the next.
        """
        judged, verified, timer = batch
        with timer("verify"):
            verified.result()
        with timer("originals"):
            self._write(self._store.records.write_originals, list(self._originals(judged)))
        failpoint("embedder-after-originals")
        with timer("records"):
            self._write(self._store.records.write, [self._image_record(j) for j in judged if j.verdict])
        failpoint("embedder-after-records")
        rejections = [rejected_message(j.record, self._rejection(j)) for j in judged if j.outcome == "reject"]
        with timer("rejected"):
            if rejections:
                retrying(lambda: self._rejected.publish(rejections), "kafka", self._stop)
        failpoint("embedder-after-rejected")
        with timer("feed"):
            rows = [self._feed_row(j) for j in judged]
            retrying(lambda: self._store.feed.write(rows, fingerprint=self._encoder), "cassandra", self._stop)
        failpoint("embedder-after-feed")
        _report(judged, timer)

    def _judge(self, records: Sequence[Record]) -> list[Judged]:
        """Outcomes in the order of the records: a pure function of each one's bytes and the encoder."""
        judged = [judge(record) for record in records]
        places = [place for place, found in enumerate(judged) if found.outcome == "put"]
        if places:
            values = [records[place].value or b"" for place in places]
            answer = retrying(lambda: self._decoder.decode(values), "decoder", self._stop)
            for place, verdict in zip(places, answer.images, strict=True):
                judged[place] = _with_verdict(judged[place], verdict)
        return judged

    def _write(self, write: Any, rows: list[Any]) -> None:
        if rows:
            retrying(lambda: write(rows), "cassandra", self._stop)

    def _originals(self, judged: list[Judged]) -> Iterator[tuple[RecordKey, bytes, int]]:
        for j in judged:
            value = j.record.value or b""
            if j.verdict and len(value) > INLINE_ORIGINAL_SIZE_BYTES_MAX:
                yield RecordKey(self._log, j.record.partition, j.record.offset), value, j.record.kafka_time_ms

    def _image_record(self, judged: Judged) -> ImageRecord:
        record, verdict, value = judged.record, judged.verdict, judged.record.value
        assert verdict is not None and value is not None
        return ImageRecord(
            RecordKey(self._log, record.partition, record.offset),
            image_id=judged.image_id,
            media_type=verdict.media_type,
            width=verdict.width,
            height=verdict.height,
            size_bytes=len(value),
            bytes_sha256=hashlib.sha256(value).digest(),
            pixels_sha256=verdict.pixels_sha256,
            metadata=judged.metadata,
            thumbnail=verdict.thumbnail,
            original=value if len(value) <= INLINE_ORIGINAL_SIZE_BYTES_MAX else None,
            kafka_time_ms=record.kafka_time_ms,
            is_truncated=verdict.is_truncated,
        )

    def _rejection(self, judged: Judged) -> Rejection:
        topic, _, _ = self._log.rpartition(":")
        record = judged.record
        return Rejection(
            reason=judged.reason,
            detail=judged.detail,
            topic=topic,
            key=RecordKey(self._log, record.partition, record.offset),
        )

    def _feed_row(self, judged: Judged) -> FeedRow:
        record = judged.record
        assert record.after <= record.offset, record[:3]
        return FeedRow(
            RecordKey(self._log, record.partition, record.offset),
            after=record.after,
            outcome=judged.outcome,
            reason=f"{judged.reason} {EXPIRED}".strip() if record.is_expired else judged.reason,
            image_id=judged.image_id,
            embedding=judged.verdict.embedding if judged.verdict else None,
            kafka_time_ms=record.kafka_time_ms,
        )


def judge(record: Record) -> Judged:
    """The outcome of a record as far as it can be told without decoding: a ``put`` still lacks its verdict."""
    if record.is_gap:
        return Judged(record, "gap", "", "", "", "", None)
    image_id = metadata = ""
    try:
        image_id = image_id_of(record.key, record.value)
        metadata = metadata_of(record.headers)
        if record.value is None:
            return Judged(record, "delete", "", "", image_id, "", None)
        check_value(record.value)
    except RejectedError as error:
        return Judged(record, "reject", error.reason, error.detail, image_id, "", None)
    return Judged(record, "put", "", "", image_id, metadata, None)


def _with_verdict(judged: Judged, verdict: Decoded) -> Judged:
    if verdict.reason:
        return judged._replace(outcome="reject", reason=verdict.reason, detail=verdict.detail)
    return judged._replace(verdict=verdict)


class Timer:
    """Milliseconds by stage, for the batch's log line and the metrics."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what the block does; a stage that is timed twice keeps its last time."""
        began = time.perf_counter()
        yield
        seconds = time.perf_counter() - began
        telemetry.STAGE_SECONDS.labels(f"embedder-{stage}").observe(seconds)
        self.ms[f"{stage}_ms"] = round(seconds * 1000, 1)


def _report(judged: list[Judged], timer: Timer) -> None:
    offsets: dict[int, list[int]] = {}
    rejected = 0
    for record, outcome, reason, *_ in judged:
        offsets.setdefault(record.partition, []).append(record.offset)
        if outcome == "gap":
            pass
        elif outcome == "reject":
            rejected += 1
            telemetry.IMAGES_REJECTED.labels(reason).inc()
        else:
            telemetry.IMAGES_ACCEPTED.labels(outcome).inc()
        if record.is_expired:
            telemetry.RECORDS_EXPIRED.inc(record.offset + record.is_gap - record.after)
            logger.error(
                "expired before they were embedded",
                partition=record.partition,
                offsets=f"{record.after}-{record.offset + record.is_gap - 1}",
            )
    logger.info(
        "batch",
        count=len(judged),
        rejected=rejected,
        **timer.ms,
        offsets={str(partition): f"{found[0]}-{found[-1]}" for partition, found in sorted(offsets.items())},
    )
