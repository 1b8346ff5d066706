"""The embedder is killed at each of its steps, cut off from Cassandra, frozen and replaced: nothing is lost or doubled."""

import signal
import time
from pathlib import Path

import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from model.pictures.decoder import Decoder
from tests.conftest import fresh_settings
from tests.embedding import Embedder, Sent, eventually, make_topics, picture, publish, running_embedder, wait_for_feed
from tests.kafka_topic import read_topic
from tests.relay import Relay

STEPS = (
    "embedder-after-fetch",
    "embedder-after-originals",
    "embedder-after-records",
    "embedder-after-rejected",
    "embedder-after-feed",
    "embedder-before-ack",
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka_partitions": 2, "batch_images_max": 16})


@pytest.mark.timeout(300)
def test_killed_at_every_step_every_record_has_one_feed_row_with_the_right_bytes(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    log = make_topics(settings)
    sent: list[Sent] = []
    for n, step in enumerate(STEPS):
        # Each run meets the killed one's rest and 40 more, among them large, bad and withdrawn ones.
        sent += publish(settings, some_records(n * 40, 40))
        embedder = Embedder(settings, tmp_path, failpoints=f"{step}:2")
        assert embedder.wait() == -signal.SIGKILL, embedder.text()
    with running_embedder(settings, tmp_path):
        rows = wait_for_feed(store, settings, log, sent)

    assert set(rows) == {(r.partition, r.offset) for r in sent}
    decoder = Decoder(settings.encoder)
    verdicts = decoder.decode([r.value or b"" for r in sent]).images
    decoder.close()
    images = []
    for record, verdict in zip(sent, verdicts, strict=True):
        row = rows[record.partition, record.offset]
        expected = "delete" if record.value is None else "reject" if verdict.reason else "put"
        assert (row.outcome, row.after) == (expected, record.offset)
        assert row.embedding == (verdict.embedding if expected == "put" else None)
        if expected == "put":
            images.append((RecordKey(log, record.partition, record.offset), record.value))
    assert set(store.records.read([key for key, _ in images])) == {key for key, _ in images}
    assert all(store.records.read_original(key) == value for key, value in images)
    refused = {(r.partition, r.offset) for r in sent if rows[r.partition, r.offset].outcome == "reject"}
    assert {place_of(message.headers) for message in read_topic(settings, settings.rejected_topic)} == refused


def test_cut_off_from_cassandra_it_waits_ends_at_sigterm_and_loses_nothing(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    log = make_topics(settings)
    with Relay(settings.cassandra_port) as relay:
        behind = settings.model_copy(update={"cassandra_port": relay.port})
        with running_embedder(behind, tmp_path) as embedder:
            wait_for_feed(store, settings, log, publish(settings, some_records(0, 10)))
            relay.cut()
            sent = publish(settings, some_records(10, 60))
            eventually("it says that it waits", lambda: "retrying" in embedder.text())
            relay.mend()
            rows = wait_for_feed(store, settings, log, sent)
            relay.cut()
            sent += publish(settings, some_records(70, 30))
            eventually("it waits again", lambda: embedder.text().count('"in_s": 0.1') >= 2)
            began = time.monotonic()
            assert embedder.stop() == 0
            assert time.monotonic() - began < 8
            relay.mend()
        with running_embedder(behind, tmp_path):
            again = wait_for_feed(store, settings, log, sent)
    assert {place: again[place] for place in rows} == rows
    assert {(r.partition, r.offset) for r in sent} <= set(again)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_two_share_the_topic_while_one_is_killed_and_one_is_frozen_past_its_session(
    stack: Settings, store: Store, tmp_path: Path
) -> None:
    settings = fresh_settings(stack, tmp_path, kafka_partitions=4, batch_images_max=16)
    log = make_topics(settings)
    sent: list[Sent] = []

    def more() -> None:
        records = some_records(len(sent), 40)
        sent.extend(publish(settings, [r._replace(partition=i % 4) for i, r in enumerate(records)]))

    with running_embedder(settings, tmp_path, slot=0) as one, running_embedder(settings, tmp_path, slot=1) as two:
        more()
        eventually("both have partitions", lambda: '"starts": {' in two.text() and '"starts": {' in one.text())
        wait_for_feed(store, settings, log, sent)
        one.stop(signal.SIGKILL)
        more()
        with running_embedder(settings, tmp_path, slot=0):
            began = time.monotonic()
            wait_for_feed(store, settings, log, sent)
            assert time.monotonic() - began < 25, "its partitions came back with its instance id"
            two.process.send_signal(signal.SIGSTOP)
            more()
            wait_for_feed(store, settings, log, sent, timeout_s=60)
            two.process.send_signal(signal.SIGCONT)
            more()
            rows = wait_for_feed(store, settings, log, sent)
    assert set(rows) == {(r.partition, r.offset) for r in sent}
    assert all(row.after == row.key.offset for row in rows.values())
    decoder = Decoder(settings.encoder)
    verdicts = decoder.decode([r.value or b"" for r in sent]).images
    decoder.close()
    for record, verdict in zip(sent, verdicts, strict=True):
        assert (rows[record.partition, record.offset].embedding or b"") == verdict.embedding


def some_records(start: int, count: int) -> list[Sent]:
    """Small images, and now and then a large one, a delete and a message that is no image."""
    records = []
    for i in range(start, start + count):
        value: bytes | None = picture(i)
        if i % 10 == 3:
            value = picture(i, size=160)
        elif i % 10 == 5:
            value = None
        elif i % 10 == 7:
            value = b"no image %d" % i
        records.append(Sent(f"id/{i % 50}".encode(), value, (), i % 2))
    return records


def place_of(headers: list[tuple[str, bytes]]) -> tuple[int, int]:
    """Where a refused record stood."""
    found = dict(headers)
    return int(found["lookalike-partition"]), int(found["lookalike-offset"])
