"""Watches: from a feed row that is written to its match on the topic, with many watches and many images a second."""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.embeddings import queries
from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from gallery.store.watches import StoredWatch, WatchStart
from model.encoder import load_encoder
from stack.process import start_child
from stack.programs import watcher
from topics.matches import MatchReader, NumberedMatch
from topics.topic import Topic

ROWS_AT_ONCE = 50
# So near is one in some thousands of the digits.
REACH = 0.25
LEFT_S_MAX = 60.0
STOP_S = 15.0


def measure_watches(settings: Settings, watch_count: int, rate: float, seconds: float) -> dict[str, Any]:
    """All figures by name. Kafka and Cassandra must run; what is written stays in Cassandra.

    Every image is the embedding of a watch, so each has a match at least, and its verdict is left out: watches of
    embeddings have none.

    Args:
        rate: images/s.

    Raises:
        DependencyError: Kafka or Cassandra does not run.
    """
    encoder = load_encoder(settings.encoder, settings.encoders_dir)
    embeddings = queries(encoder, watch_count, settings.var_dir / "bench")
    with own_pipeline(settings, "watches") as own, closing(Topic(own)) as topic, closing(Store.connect(own)) as store:
        log = topic.check()
        store.feed.add_log(topic=own.kafka_topic, log=log)
        for embedding in embeddings:
            store.watches.add(_watch(own, log, encoder.fingerprint, embedding))
        with _running(own) as process, closing(MatchReader(own, "lookalike-bench")) as reader:
            began = time.monotonic()
            _write(store, log, encoder.fingerprint, embeddings[:ROWS_AT_ONCE], 0)
            list(_matches(reader, ROWS_AT_ONCE))
            taken_up_s = time.monotonic() - began
            cpu_before = process.cpu_times()
            began, written = time.monotonic(), ROWS_AT_ONCE
            while (passed := time.monotonic() - began) < seconds:
                if written - ROWS_AT_ONCE < passed * rate:
                    part = np.take(embeddings, range(written, written + ROWS_AT_ONCE), axis=0, mode="wrap")
                    _write(store, log, encoder.fingerprint, part, written)
                    written += ROWS_AT_ONCE
                else:
                    time.sleep(0.002)
            found = list(_matches(reader, written - ROWS_AT_ONCE))
            took_s = time.monotonic() - began
            cpu = process.cpu_times()
    waits = [max(0, match.created_at - match.source.timestamp) for _, match in found]
    return {
        "machine": machine(),
        "versions": versions(),
        "watches": watch_count,
        "images": written - ROWS_AT_ONCE,
        "images_per_s": round((written - ROWS_AT_ONCE) / took_s, 1),
        "matches": len(found),
        "p50_ms": round(float(np.percentile(waits, 50)), 1),
        "p99_ms": round(float(np.percentile(waits, 99)), 1),
        "first_matches_s": round(taken_up_s, 2),
        "watcher_cpu": round((cpu.user + cpu.system - cpu_before.user - cpu_before.system) / took_s, 2),
    }


def _watch(settings: Settings, log: str, fingerprint: str, embedding: NDArray[np.float32]) -> StoredWatch:
    return StoredWatch(
        topic=settings.kafka_topic,
        id=uuid.uuid4().hex,
        name="",
        embedding=embedding.astype("<f4").tobytes(),
        encoder=fingerprint,
        max_distance=REACH,
        start=WatchStart(log, {}),
        created_at_ms=int(time.time() * 1000),
    )


def _write(store: Store, log: str, fingerprint: str, embeddings: NDArray[np.float32], offset: int) -> None:
    now_ms = int(time.time() * 1000)
    rows = [
        FeedRow(RecordKey(log, 0, n), n, "put", "", f"bench/{n}", each.astype("<f4").tobytes(), now_ms, metadata="")
        for n, each in enumerate(embeddings, offset)
    ]
    store.feed.write(rows, fingerprint=fingerprint)


@contextmanager
def _running(settings: Settings) -> Iterator[psutil.Process]:
    child = start_child(watcher(settings))
    try:
        yield psutil.Process(child.pid)
    finally:
        child.stop(STOP_S)


def _matches(reader: MatchReader, image_count: int) -> Iterator[NumberedMatch]:
    """The matches that follow, until so many images were among them."""
    images: set[int] = set()
    ends = time.monotonic() + LEFT_S_MAX
    while len(images) < image_count and time.monotonic() < ends:
        for numbered in reader.read_to(reader.end_offset()):
            images.add(numbered.match.source.offset)
            yield numbered
        time.sleep(0.05)
