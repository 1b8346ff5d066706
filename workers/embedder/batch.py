"""Embeds a batch of records, and makes what became of each durable in the promised order.

Everything here blocks; decoding and encoding happen in the decoders' child processes.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog

from contract import telemetry
from contract.messages import INLINE_ORIGINAL_SIZE_BYTES_MAX
from contract.origin import requests_told
from contract.record_key import RecordKey
from gallery.store.store import Store
from model.pictures.decoders import Decoders
from runtime.failpoints import failpoint
from runtime.planted import planted
from runtime.retrying import retrying
from runtime.tracing import TRACING
from topics.batch_publisher import BatchPublisher
from topics.rejected import rejected_message
from topics.topic import Topic
from workers.embedder.followed import follow_embedded
from workers.embedder.outcomes import Judged, feed_row, image_record, judge, rejection
from workers.embedder.records import Record

# Of the records that one batch rejects, so many are named in the log: those that a request brought.
_REJECTED_TOLD_MAX = 20

logger = structlog.get_logger()


class Batch(NamedTuple):
    """Judged records on their way to Cassandra, and whether they still belong to the log."""

    judged: list[Judged]
    verified: Future[None]
    timer: "Timer"


class BatchEmbedder:
    """Embeds batches of one log with one encoder. `embed`, `confirm` and `write` may run at once, each for one batch at a time;
    a batch goes through them in this order, and when `write` returns, everything about it is durable.

    Attributes:
        collection: name of the collection that the records belong to.
        log: the topic's incarnation that the records come from.
        fingerprint: of the encoder, whose feed is written.
    """

    def __init__(
        self,
        *,
        collection: str,
        log: str,
        fingerprint: str,
        topic: Topic,
        store: Store,
        decoders: Decoders,
        rejected: BatchPublisher,
        clock: Callable[[], float],
        stop: threading.Event,
    ) -> None:
        """Put together from its parts; `clock` gives seconds and never goes back, `stop` is set when nothing is to be done any more."""
        self.collection = collection
        self.log = log
        self.fingerprint = fingerprint
        self._topic = topic
        self._store = store
        self._decoders = decoders
        self._rejected = rejected
        self._clock = clock
        self._stop = stop
        # Only what concerns this topic waits here: it may be gone, and others' records must not wait for it.
        self.asking = ThreadPoolExecutor(1, thread_name_prefix=f"topic {collection}")

    def close(self) -> None:
        """Let go of connections that only this collection has."""
        self.asking.submit(self._rejected.close)  # behind what it is used for now
        self.asking.shutdown(wait=False)

    def first_missing(self, partition: int, committed: int) -> int:
        """The first offset of a partition that the feed lacks; `committed` is where the consumer group is.

        Raises:
            StoppedError: the process is to end.
        """
        if planted("embedder-acknowledges-first"):
            return committed
        return retrying(
            lambda: self._store.feed.next_offset(
                RecordKey(self.log, partition, committed), fingerprint=self.fingerprint
            ),
            "cassandra",
            self._stop,
        )

    def check_topic(self) -> None:
        """Ask Kafka once whether the topic is still the same; raises TopicReplacedError or DependencyError if not."""
        self._topic.verify(self.log)

    def embed(self, records: Sequence[Record]) -> Batch:
        """What becomes of the records, in their order; nothing is written.

        Raises:
            StoppedError: the process is to end.
        """
        failpoint("embedder-after-fetch")
        timer = Timer(self._clock)
        with timer("judge"):
            # Overlapped with decoding, but before anything is written: the records were fetched by the topic's name.
            verified = self.asking.submit(retrying, self.check_topic, "kafka", self._stop)
            judged = [judge(record) for record in records]
            places = [place for place, found in enumerate(judged) if found.outcome == "put"]
            if places:
                values = [records[place].value or b"" for place in places]
                answer = retrying(lambda: self._decoders.decode(values), "decoder", self._stop)
                for place, decoded in zip(places, answer.images, strict=True):
                    judged[place] = judged[place].with_decoded(decoded)
            return Batch(judged, verified, timer)

    def confirm(self, batch: Batch) -> None:
        """Wait until it is known that the records belong to the log, and publish those that are rejected.

        Raises:
            TopicReplacedError: they may belong to another topic of the same name; nothing was written.
            StoppedError: nothing is to be done any more.
        """
        judged, verified, timer = batch
        with timer("verify"):
            verified.result()
        with timer("rejected"):
            self._publish([j for j in judged if j.outcome == "reject"])
        failpoint("embedder-after-rejected")

    def write(self, batch: Batch) -> None:
        """Write originals, details and feed rows, in this order.

        Raises:
            StoppedError: nothing is to be done any more; what is missing is done again by the next process.
        """
        judged, _, timer = batch
        with timer("originals"):
            self._write(self._store.records.write_originals, list(self._originals(judged)))
        failpoint("embedder-after-originals")
        with timer("records"):
            self._write(self._store.records.write, [image_record(self.log, j) for j in judged if j.decoded])
        failpoint("embedder-after-records")
        with timer("feed"):
            rows = [feed_row(self.log, j) for j in judged]
            self._write(lambda rows: self._store.feed.write(rows, fingerprint=self.fingerprint), rows)
        failpoint("embedder-after-feed")
        _report(self.collection, judged, timer)
        if TRACING.recorder is not None:
            follow_embedded(
                judged, timer.times_ns, collection=self.collection, log=self.log, fingerprint=self.fingerprint
            )

    def _write(self, write: Callable[[list[Any]], None], rows: list[Any]) -> None:
        if rows:
            retrying(lambda: write(rows), "cassandra", self._stop)

    def _publish(self, rejects: list[Judged]) -> None:
        messages = [rejected_message(j.record, rejection(self.log, j)) for j in rejects]
        if messages and not planted("embedder-hides-rejections"):
            retrying(lambda: self._rejected.publish(messages), "kafka", self._stop)

    def _originals(self, judged: list[Judged]) -> Iterator[tuple[RecordKey, bytes, int]]:
        for j in judged:
            value = j.record.value or b""
            if j.decoded and len(value) > INLINE_ORIGINAL_SIZE_BYTES_MAX:
                yield RecordKey(self.log, j.record.partition, j.record.offset), value, j.record.kafka_time_ms


class Timer:
    """What each stage takes, for the batch's log line, the metrics and traces.

    Attributes:
        ms: milliseconds.
        times_ns: when it began and ended, nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.ms: dict[str, float] = {}
        self.times_ns: dict[str, tuple[int, int]] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure what is done inside."""
        began_s, began_ns = self._clock(), time.time_ns()
        yield
        took_s = self._clock() - began_s
        telemetry.STAGE_SECONDS.labels(f"embedder-{stage}").observe(took_s)
        self.ms[f"{stage}_ms"] = round(took_s * 1000, 1)
        self.times_ns[stage] = began_ns, began_ns + round(took_s * 1e9)


def _report(collection: str, judged: list[Judged], timer: Timer) -> None:
    offsets: dict[int, list[int]] = {}
    rejected = 0
    for record, outcome, reason, *_ in judged:
        offsets.setdefault(record.partition, []).append(record.offset)
        if outcome == "gap":
            pass
        elif outcome == "reject":
            rejected += 1
            telemetry.IMAGES_REJECTED.labels(collection, reason).inc()
        else:
            telemetry.IMAGES_ACCEPTED.labels(collection, outcome).inc()
        if record.is_expired:
            telemetry.RECORDS_EXPIRED.labels(collection).inc(record.offset + record.is_gap - record.after)
            logger.error(
                "expired before they were embedded",
                collection=collection,
                partition=record.partition,
                offsets=f"{record.after}-{record.offset + record.is_gap - 1}",
            )
    logger.info(
        "batch",
        collection=collection,
        count=len(judged),
        rejected=rejected,
        **timer.ms,
        offsets={str(partition): f"{found[0]}-{found[-1]}" for partition, found in sorted(offsets.items())},
        **requests_told(found.origin for found in judged),
    )
    rejects = [found for found in judged if found.outcome == "reject" and found.origin.request_id]
    for found in rejects[:_REJECTED_TOLD_MAX]:
        logger.info(
            "rejected",
            collection=collection,
            request_id=found.origin.request_id,
            reason=found.reason,
            id=found.image_id,
            partition=found.record.partition,
            offset=found.record.offset,
        )
