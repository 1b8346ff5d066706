"""What the tests of the embedder share: a real embedder process, a plain Kafka client, and the feed as it was written."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaProducer
from PIL import Image

from contract.messages import MESSAGE_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from model.encoder import load_encoder
from runtime.failpoints import VARIABLE
from stack.jars import ROOT
from stack.programs import environment
from tests.kafka_topic import topic_log
from topics.batch_publisher import NO_KEY, KeySerializer
from topics.topic import ensure_topics


class Sent(NamedTuple):
    """A record to publish, or published when it has its place."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int = 0
    offset: int = -1


class Embedder:
    """`python -m workers embedder` as a child process; its output goes to a file."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        slot: int = 0,
        failpoints: str = "",
        program: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        self.output = folder / f"embedder-{time.monotonic_ns()}.log"
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *(program or ("-m", "workers", "embedder", "--slot", str(slot), *arguments))],
                cwd=ROOT,
                env={**os.environ, **environment(settings), "PYTHONUNBUFFERED": "1", VARIABLE: failpoints},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        """What it has written so far."""
        return self.output.read_text()

    def wait(self, timeout_s: float = 60.0) -> int:
        """Wait for its end; the exit status."""
        return self.process.wait(timeout_s)

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 15.0) -> int:
        """End it and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(timeout_s)
        finally:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running_embedder(settings: Settings, folder: Path, **options: Any) -> Iterator[Embedder]:
    """An embedder that is stopped at the end; its output is shown when the test fails."""
    embedder = Embedder(settings, folder, **options)
    try:
        yield embedder
    except BaseException:
        print(embedder.text()[-8000:])
        raise
    finally:
        embedder.stop()


def eventually(what: str, check: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Poll until `check` returns something true and return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)
    return found


def picture(seed: int, kind: str = "PNG", size: int = 28) -> bytes:
    """An encoded grey image that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def make_topics(settings: Settings) -> str:
    """Create the topics and return the log."""
    ensure_topics(settings)
    return topic_log(settings)


def producer(settings: Settings, **options: Any) -> Any:
    """A plain Kafka producer, as any program may use it."""
    return KafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        max_request_size=MESSAGE_SIZE_BYTES_MAX,
        allow_auto_create_topics=False,
        key_serializer=KeySerializer(),
        **options,
    )


def publish(settings: Settings, records: Sequence[Sent]) -> list[Sent]:
    """Publish and return the records with their places."""
    client = producer(settings)
    try:
        sent = [
            client.send(
                settings.kafka_topic,
                value=r.value,
                key=NO_KEY if r.key is None else r.key,
                headers=list(r.headers),
                partition=r.partition,
            )
            for r in records
        ]
        return [r._replace(offset=future.get(30).offset) for r, future in zip(records, sent, strict=True)]
    finally:
        client.close()


def feed_of(store: Store, settings: Settings, log: str, partition: int) -> list[FeedRow]:
    """All feed rows of a partition that hang together from offset 0 on."""
    fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
    rows: list[FeedRow] = []
    reached = 0
    while found := store.feed.read(RecordKey(log, partition, reached), 2048, fingerprint=fingerprint):
        for row in found:
            if row.after > reached:
                return rows
            rows.append(row)
            reached = row.key.offset + 1
    return rows


def wait_for_feed(
    store: Store, settings: Settings, log: str, sent: Sequence[Sent], timeout_s: float = 60.0
) -> dict[tuple[int, int], FeedRow]:
    """Wait until the feed reaches past all of these records; all its rows by place."""
    ends: dict[int, int] = {}
    for record in sent:
        ends[record.partition] = max(ends.get(record.partition, 0), record.offset + 1)

    def reached() -> dict[tuple[int, int], FeedRow]:
        rows = {partition: feed_of(store, settings, log, partition) for partition in ends}
        if all(found and found[-1].key.offset + 1 >= ends[partition] for partition, found in rows.items()):
            return {(row.key.partition, row.key.offset): row for found in rows.values() for row in found}
        return {}

    return eventually(f"the feed reaches {ends}", reached, timeout_s)  # type: ignore[no-any-return]
