"""The embedder on a real Kafka and Cassandra: what becomes of good, bad and withdrawn records."""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from contract.messages import IMAGE_SIZE_BYTES_MAX, Rejection
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from model.pictures.decoder import Decoder
from tests.conftest import fresh_settings
from tests.embedding import (
    Sent,
    make_topics,
    picture,
    producer,
    publish,
    running_embedder,
    wait_for_feed,
)
from tests.kafka_topic import read_topic
from tests.unit.test_images import HEIC
from workers.__main__ import main


@pytest.fixture(scope="module")
def settings(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return fresh_settings(stack, tmp_path_factory.mktemp("settings"), kafka_partitions=2)


@pytest.fixture(scope="module")
def log(settings: Settings) -> str:
    return make_topics(settings)


@pytest.fixture(scope="module")
def store(settings: Settings) -> Iterator[Store]:
    opened = Store.connect(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="module", autouse=True)
def embedder(settings: Settings, log: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_embedder(settings, tmp_path_factory.mktemp("embedder")):
        yield


def test_puts_and_deletes_arrive_with_all_that_was_said_of_them(settings: Settings, log: str, store: Store) -> None:
    large = picture(2, size=200)
    sent = publish(
        settings,
        [
            Sent(b"cat", picture(1), (("metadata", b'{"b": 1, "a": "\xc3\xa4"}'), ("other", b"x"))),
            Sent(None, large, partition=1),
            Sent("käse/🧀?".encode(), picture(3, "JPEG")),
            Sent(b"cat", picture(4, "WEBP"), partition=1),
            Sent(b"cat", None),
        ],
    )
    rows = wait_for_feed(store, settings, log, sent)
    cat, unnamed, cheese, replaced, deleted = (rows[r.partition, r.offset] for r in sent)
    assert [r.outcome for r in (cat, unnamed, cheese, replaced, deleted)] == ["put"] * 4 + ["delete"]
    assert [r.image_id for r in (cat, cheese, replaced, deleted)] == ["cat", "käse/🧀?", "cat", "cat"]
    assert unnamed.image_id == hashlib.sha256(large).hexdigest()
    decoder = Decoder(settings.encoder)
    expected = decoder.decode([r.value for r in sent[:4] if r.value is not None]).images
    decoder.close()
    assert [r.embedding for r in (cat, unnamed, cheese, replaced)] == [v.embedding for v in expected]
    assert deleted.embedding is None

    keys = [RecordKey(log, r.partition, r.offset) for r in sent]
    details = store.records.read(keys)
    assert set(details) == set(keys[:4])
    assert details[keys[0]].metadata == '{"a":"ä","b":1}'
    assert (details[keys[1]].width, details[keys[1]].height, details[keys[1]].size_bytes) == (200, 200, len(large))
    assert [details[key].media_type for key in keys[:4]] == ["image/png", "image/png", "image/jpeg", "image/webp"]
    assert [store.records.read_original(key) for key in keys[:4]] == [r.value for r in sent[:4]]


def test_a_picture_in_every_format_is_embedded_and_kept_as_it_was_sent(
    settings: Settings, log: str, store: Store
) -> None:
    kinds = {kind: picture(40 + n, kind) for n, kind in enumerate(("AVIF", "GIF", "BMP", "TIFF"))}
    kinds["HEIC"] = HEIC
    sent = publish(settings, [Sent(f"format/{kind}".encode(), value) for kind, value in kinds.items()])
    rows = wait_for_feed(store, settings, log, sent)
    assert {rows[record.partition, record.offset].outcome for record in sent} == {"put"}
    keys = [RecordKey(log, record.partition, record.offset) for record in sent]
    details = store.records.read(keys)
    assert [details[key].media_type for key in keys] == [f"image/{kind.lower()}" for kind in kinds]
    assert [store.records.read_original(key) for key in keys] == list(kinds.values())


def test_bad_messages_are_rejected_with_a_reason_and_good_ones_around_them_arrive(
    settings: Settings, log: str, store: Store
) -> None:
    good = picture(10)
    bad = {
        "empty": Sent(b"x", b""),
        "missing-key": Sent(None, None),
        "bad-key": Sent(b"", good),
        "bad-key ": Sent(b"\xff\xfe", good),
        "bad-key  ": Sent(b"a\nb", good),
        "bad-key   ": Sent(b"k" * 257, good),
        "bad-metadata": Sent(b"x", good, (("metadata", b"[1]"),)),
        "bad-metadata ": Sent(b"x", good, (("metadata", b"{"),)),
        "bad-metadata  ": Sent(b"x", None, (("metadata", b'{"a":"' + b"x" * 20_000 + b'"}'),)),
        "unsupported-type": Sent(b"x", b"<html><body>no image</body></html>"),
        "unsupported-type ": Sent(b"x", b"%PDF-1.7" + bytes(40)),
        "truncated": Sent(b"x", good[: len(good) // 2]),
        "too-many-pixels": Sent(b"x", png_header(60_000, 60_000)),
        "too-large": Sent(b"x", good + bytes(IMAGE_SIZE_BYTES_MAX)),
    }
    between = [[Sent(f"good/{i}".encode(), picture(100 + i)), record] for i, record in enumerate(bad.values())]
    sent = publish(settings, [record for pair in between for record in pair] + [Sent(b"good/last", picture(99))])
    rows = wait_for_feed(store, settings, log, sent)
    assert all(rows[r.partition, r.offset].outcome == "put" for r in sent[::2])
    found = {rows[r.partition, r.offset].reason for r in sent[1::2]}
    assert [rows[r.partition, r.offset].reason for r in sent[1::2]] == [reason.strip() for reason in bad], found
    assert all(rows[r.partition, r.offset].outcome == "reject" for r in sent[1::2])

    messages = {}
    for message in read_topic(settings, settings.rejected_topic):
        why = Rejection.from_headers(message.headers)
        messages[why.key.partition, why.key.offset] = why, message
    for record, reason in zip(sent[1::2], bad, strict=True):
        why, message = messages[record.partition, record.offset]
        assert (why.reason, why.topic, why.key.log) == (reason.strip(), settings.kafka_topic, log)
        assert why.detail
        assert message.key == record.key
        if reason == "too-large":
            assert record.value is not None
            digest = hashlib.sha256(record.value).hexdigest()
            assert json.loads(message.value) == {"size_bytes": len(record.value), "sha256": digest}
        else:
            assert message.value == record.value
            assert list(message.headers)[: len(record.headers)] == list(record.headers)


def test_rejected_messages_are_listed_shown_and_published_again(
    settings: Settings,
    log: str,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("kafka_bootstrap", "kafka_topic", "cassandra_port"):
        monkeypatch.setenv(f"LOOKALIKE_{name.upper()}", str(getattr(settings, name)))
    headers = (("metadata", b"{}"), ("origin", b"scanner"))
    sent = publish(settings, [Sent(b"scan/1", b"not an image", headers, 1)])
    wait_for_feed(store, settings, log, sent)
    place = f"1:{sent[0].offset}"

    assert main(["rejected", "list", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [entry for entry in listed if (entry["partition"], entry["offset"]) == (1, sent[0].offset)]
    assert len(found) == 1
    assert (found[0]["reason"], found[0]["key"]) == ("unsupported-type", "scan/1")

    assert main(["rejected", "show", place, "--save", str(tmp_path / "value")]) == 0
    assert "unsupported-type" in capsys.readouterr().out
    assert (tmp_path / "value").read_bytes() == b"not an image"

    assert main(["rejected", "replay", place]) == 0
    partition, offset = capsys.readouterr().out.split()[-1].split(":")
    again = Sent(b"scan/1", b"not an image", headers, int(partition), int(offset))
    rows = wait_for_feed(store, settings, log, [again])
    assert rows[again.partition, again.offset].reason == "unsupported-type"
    assert main(["rejected", "show", "1:999999"]) == 1
    assert "was not rejected" in capsys.readouterr().err


def test_records_of_aborted_transactions_are_never_embedded(settings: Settings, log: str, store: Store) -> None:
    client = producer(settings, transactional_id=f"test-{settings.kafka_topic}")
    client.init_transactions()
    for seed, ends in ((20, "commit"), (21, "abort"), (22, "commit"), (23, "abort")):
        client.begin_transaction()
        future = client.send(settings.kafka_topic, key=f"{ends}/{seed}".encode(), value=picture(seed), partition=0)
        future.get(30)
        client.commit_transaction() if ends == "commit" else client.abort_transaction()
    client.close()
    sent = publish(settings, [Sent(b"after them", picture(24))])
    rows = wait_for_feed(store, settings, log, sent)
    ids = {row.image_id for row in rows.values()}
    assert {"commit/20", "commit/22", "after them"} <= ids
    assert not {"abort/21", "abort/23"} & ids


def test_batches_in_every_compression_are_read(settings: Settings, log: str, store: Store) -> None:
    codecs = ("gzip", "snappy", "lz4", "zstd")
    sent = [record for codec in codecs for record in asyncio.run(publish_compressed(settings, codec))]
    rows = wait_for_feed(store, settings, log, sent)
    assert [rows[1, record.offset].image_id for record in sent] == [c for codec in codecs for c in [codec] * 5]


def test_a_header_whose_name_is_not_utf8_stops_nothing(settings: Settings, log: str, store: Store) -> None:
    class RawName(str):
        def encode(self, *_: str) -> bytes:
            return b"\xff\xfe"

    bad = Sent(b"odd header", picture(50), ((RawName("x"), b"1"), ("metadata", b'{"a":1}')))
    others = [Sent(f"near it/{i}".encode(), picture(51 + i), (), i % 2) for i in range(20)]
    sent = publish(settings, [*others[:10], bad, *others[10:]])
    rows = wait_for_feed(store, settings, log, sent)
    assert {rows[r.partition, r.offset].outcome for r in sent} == {"put"}
    key = RecordKey(log, 0, sent[10].offset)
    assert store.records.read([key])[key].metadata == '{"a":1}'


def test_an_embedding_depends_on_its_own_bytes_alone(settings: Settings, log: str, store: Store) -> None:
    alone = publish(settings, [Sent(b"same", picture(40))])
    first = wait_for_feed(store, settings, log, alone)[0, alone[0].offset]
    among = publish(settings, [Sent(b"same", picture(40 + i % 7)) for i in range(200)])
    rows = wait_for_feed(store, settings, log, among)
    again = [rows[0, record.offset].embedding for record in among[::7]]
    assert set(again) == {first.embedding}
    assert first.embedding is not None
    assert np.isfinite(np.frombuffer(first.embedding, "<f4")).all()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be that large."""
    chunk = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x00\x00\x00\x00"
    data = b"IDAT" + zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        len(part[4:]).to_bytes(4) + part + zlib.crc32(part).to_bytes(4) for part in (chunk, data, b"IEND")
    )


async def publish_compressed(settings: Settings, codec: str) -> list[Sent]:
    """Five records in one compressed batch."""
    # kafka-python brings no codecs of its own.
    client = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, compression_type=codec, linger_ms=50)
    await client.start()
    try:
        futures = [
            await client.send(settings.kafka_topic, key=codec.encode(), value=picture(30), partition=1)
            for _ in range(5)
        ]
        return [Sent(codec.encode(), picture(30), (), 1, (await future).offset) for future in futures]
    finally:
        await client.stop()
