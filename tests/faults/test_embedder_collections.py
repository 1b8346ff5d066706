"""The embedder is killed amid three collections: every record is found once and in the right one, and nothing leaks."""

import random
import signal
from pathlib import Path

import pytest

from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from model.pictures.decoder import Decoder
from tests.embedding import Embedder, Sent, eventually, make_topics, publish, running_embedder, wait_for_feed
from tests.faults.test_embedder_kills import STEPS
from tests.kafka_topic import read_topic
from tests.many_collections import expected, made_collections, outcomes, some_records


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"kafka_partitions": 2, "batch_images_max": 16})


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_killed_amid_three_collections_each_record_is_found_once_in_the_right_one(
    settings: Settings, store: Store, tmp_path: Path, chance: random.Random
) -> None:
    """The same ids in all three, other pictures in each, and one of them with another encoder."""
    with made_collections(settings, store) as made:
        all_settings, logs = {"default": settings}, {"default": make_topics(settings)}
        for name, encoder in (("left", "contrast"), ("right", "report-autoencoder")):
            all_settings[name], logs[name] = made.create(name, encoder=encoder, partitions=2)
        sent = {name: list[Sent]() for name in logs}
        for n, step in enumerate(chance.sample(STEPS, 3)):
            for seed, (name, each) in enumerate(all_settings.items()):
                sent[name] += publish(each, some_records(10 * n + seed, 60, partitions=2))
            embedder = Embedder(settings, tmp_path, failpoints=f"{step}:{chance.randrange(2, 6)}")
            assert embedder.wait() == -signal.SIGKILL, embedder.text()
        embedder = Embedder(settings, tmp_path)
        eventually("something is embedded", lambda: embedder.text().count('"event": "batch"') > 3)
        embedder.stop(signal.SIGKILL)
        with running_embedder(settings, tmp_path):
            rows = {name: wait_for_feed(store, each, logs[name], sent[name]) for name, each in all_settings.items()}

        for name, each in all_settings.items():
            assert outcomes(rows[name]) == expected(sent[name]), name
            check_own(store, each, logs[name], sent[name], rows[name])


def check_own(
    store: Store, settings: Settings, log: str, sent: list[Sent], rows: dict[tuple[int, int], FeedRow]
) -> None:
    """Embeddings, originals and rejected messages are those of the collection's own records, and no others."""
    decoder = Decoder(settings.encoder)
    images = decoder.decode([record.value or b"" for record in sent]).images
    decoder.close()
    for record, image in zip(sent, images, strict=True):
        row = rows[record.partition, record.offset]
        assert row.after == record.offset
        assert row.embedding == (None if image.reason else image.embedding)
        if not image.reason:
            key = RecordKey(log, record.partition, record.offset)
            assert store.records.read_original(key) == record.value
    assert {key.log for key in store.records.keys(log)} == {log}
    assert len(list(store.records.keys(log))) == sum(not image.reason for image in images)
    told = {
        (headers["lookalike-topic"].decode(), int(headers["lookalike-partition"]), int(headers["lookalike-offset"]))
        for message in read_topic(settings, settings.rejected_topic)
        for headers in [dict(message.headers)]
    }
    refused = {place for place, outcome in expected(sent).items() if outcome == "reject"}
    assert told == {(settings.kafka_topic, *place) for place in refused}
