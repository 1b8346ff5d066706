"""Pictures and rows that once stopped the pipeline, published among good ones; and a part that stands still is named."""

import io
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from lookalike_client import Client
from model import mnist
from model.encoder import load_encoder
from stack import groups
from stack.programs import told_stalled
from stack.state import read_state
from tests.bad_messages import bad_messages
from tests.conftest import fresh_settings
from tests.embedding import Sent, producer, publish
from tests.kafka_topic import topic_log
from tests.verified import verified_ids
from tests.waiting import wait_for
from topics.batch_publisher import NO_KEY
from topics.topic import ensure_topics

GOOD = 600
A_SECOND = 100


@pytest.fixture(scope="module")
def settings(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("attacked")
    settings = fresh_settings(
        stack,
        folder,
        kafka_partitions=2,
        var_dir=folder / "var",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_attacked",
        encoder="contrast",
        stalled_after_s=2.0,
    )
    ensure_topics(settings)
    groups.up(settings, "programs", tied=True)
    yield settings
    groups.down(settings, "programs")


def blank_pictures() -> dict[str, bytes]:
    pictures = {
        "white": Image.new("L", (28, 28), 255),
        "black": Image.new("L", (28, 28)),
        "red": Image.new("RGB", (90, 60), "red"),
        "transparent": Image.new("RGBA", (50, 50)),
        "one pixel": Image.new("RGB", (1, 1), "white"),
        "thin": Image.new("L", (400, 1), 200),
    }
    return {f"blank/{name}": png(image) for name, image in pictures.items()}


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def pids(settings: Settings) -> dict[str, int]:
    state = read_state(settings, "programs")
    assert state is not None
    return {process.name: process.pid for process in state.processes}


def test_poison_among_good_images_stops_nothing(settings: Settings) -> None:
    """Blank pictures are found, bad messages are rejected, damaged feed rows set aside, and no process restarts."""
    before = pids(settings)
    client, digits = producer(settings), mnist.images("test")
    blank, bad = blank_pictures(), bad_messages()
    good = {f"good/{n}": mnist.png(digits[n]) for n in range(GOOD)}
    sent = [Sent(key.encode(), value) for key, value in (good | blank).items()]
    sent += [case.sent for case in bad if len(case.sent.value or b"") < 100_000]
    sent = [sent[at] for at in np.random.default_rng(1).permutation(len(sent))]
    began, ends = time.monotonic(), {0: 0, 1: 0}
    for number, record in enumerate(sent):
        wait_s = began + number / A_SECOND - time.monotonic()
        if wait_s > 0:
            time.sleep(wait_s)  # the pace is what is asked for
        confirmed = publish_one(client, settings, record, number % 2)
        ends[number % 2] = confirmed + 1
    client.close()
    api = Client(settings.api_address)
    wanted = ",".join(f"{partition}:{end}" for partition, end in ends.items())
    wait_for(
        lambda: {str(p): end for p, end in ends.items()}.items() <= api.index()["coverage"]["offsets"].items() or None
    )
    assert verified_ids(settings) == good.keys() | blank.keys()
    for name, value in blank.items():
        answer = api.search(value, k=10, min_offsets=wanted, wait_ms=2000)
        assert name in {match.id for match in answer.matches if match.distance == 0}
        assert len(answer.matches) == 10 and all(np.isfinite(match.distance) for match in answer.matches)
    assert sum(api.index()["rejected"].values()) == len(sent) - len(good) - len(blank)
    assert pids(settings) == before


def publish_one(client: Any, settings: Settings, record: Sent, partition: int) -> int:
    key = NO_KEY if record.key is None else record.key
    sent = client.send(
        settings.kafka_topic, key=key, value=record.value, headers=list(record.headers), partition=partition
    )
    return int(sent.get(30).offset)


def test_feed_rows_of_the_version_before_are_set_aside_and_named(settings: Settings) -> None:
    """That version wrote blank pictures as numbers that are not finite; the newest good record of the id is shown."""
    api = Client(settings.api_address)
    at = publish(settings, [Sent(b"stays", mnist.png(mnist.images("test")[900]))])[0]
    wait_for(lambda: api.index()["coverage"]["offsets"]["0"] > at.offset or None)
    store = Store.connect(settings)
    embedder = pids(settings)["embedder"]
    os.kill(embedder, signal.SIGSTOP)  # its feed is written by hand for a moment
    try:
        bad = FeedRow(
            RecordKey(topic_log(settings), 0, at.offset + 1),
            after=at.offset + 1,
            outcome="put",
            reason="",
            image_id="stays",
            embedding=np.full(128, np.nan, "<f4").tobytes(),
            kafka_time_ms=time.time_ns() // 1_000_000,
        )
        store.feed.write([bad], fingerprint=load_encoder(settings.encoder).fingerprint)
        publish(settings, [Sent(b"stays", mnist.png(mnist.images("test")[901]))])  # the record that the row belongs to
        wait_for(lambda: api.index()["coverage"]["offsets"]["0"] > at.offset + 1 or None)
    finally:
        os.kill(embedder, signal.SIGCONT)
        store.close()
    answer = api.search(mnist.png(mnist.images("test")[900]), k=1)
    assert [(match.id, match.distance) for match in answer.matches] == [("stays", 0.0)]
    assert answer.coverage.set_aside == 1
    behind = publish(settings, [Sent(b"behind", mnist.png(mnist.images("test")[902]))])[0]
    wait_for(lambda: api.index()["coverage"]["offsets"]["0"] > behind.offset or None)
    assert api.search(mnist.png(mnist.images("test")[902]), k=1).matches[0].id == "behind"


@pytest.mark.parametrize("part", ["indexer", "embedder"])
def test_part_that_stands_still_is_named_until_it_goes_on(settings: Settings, part: str) -> None:
    api = Client(settings.api_address)
    wait_for(lambda: (api.index()["stalled"] is None and api.index()["lag"] == 0) or None)
    stopped = psutil.Process(pids(settings)[part])
    stopped.suspend()
    try:
        at = publish(settings, [Sent(b"late", mnist.png(mnist.images("test")[910]))])[0]
        stalled = wait_for(lambda: api.index()["stalled"])
        assert stalled["part"] == part
        assert part in api.search(mnist.png(mnist.images("test")[1]), k=1).degraded
        said = told_stalled(settings.api_address)
        assert part in said and "stands still since" in said
    finally:
        stopped.resume()
    wait_for(lambda: api.index()["coverage"]["offsets"]["0"] > at.offset or None)
    wait_for(lambda: api.index()["stalled"] is None or None)
    assert told_stalled(settings.api_address) == ""
