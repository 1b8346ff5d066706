"""The whole pipeline on real servers: what Kafka confirmed is found, replaced and deleted, whatever ends in between."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kafka import KafkaProducer
from PIL import Image

from contract.messages import IMAGE_SIZE_BYTES_MAX, MESSAGE_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.store import Store
from lookalike_client import ApiError, Client
from model import mnist
from model.encoder import load_encoder
from stack import groups
from stack.state import read_state
from tests.unit.test_images import HEIC, encoded
from tests.verified import verified_ids
from tests.waiting import wait_for
from topics.publisher import ImagePublisher

DIGITS = mnist.images("test")


class Sent:
    """What Kafka confirmed of one record."""

    def __init__(self, producer: KafkaProducer, topic: str, **record: Any) -> None:
        self.where = producer.send(topic, **record).get(30)
        self.min_offsets = f"{self.where.partition}:{self.where.offset + 1}"


def answer(client: Client, value: bytes, sent: Sent, k: int = 5) -> list[tuple[str, float]]:
    found = wait_for(
        lambda: _unless_behind(lambda: client.search(value, k=k, min_offsets=sent.min_offsets, wait_ms=5000))
    )
    return [(match.id, match.distance) for match in found.matches]


def _unless_behind(search: Callable[[], Any]) -> Any:
    try:
        return search()
    except ApiError as error:
        if error.status in (0, 412, 503):
            return None
        raise


def digit(number: int) -> bytes:
    return mnist.png(DIGITS[number])


def test_plain_bytes_without_key_or_header_are_found_by_their_sha256_at_distance_zero(
    running: Settings, client: Client, plain: KafkaProducer
) -> None:
    value = digit(0)
    sent = Sent(plain, running.kafka_topic, value=value)
    assert answer(client, value, sent)[0] == (hashlib.sha256(value).hexdigest(), 0.0)


def test_a_picture_in_every_format_is_found_by_its_own_bytes(
    running: Settings, client: Client, plain: KafkaProducer
) -> None:
    values = {"image/heic": HEIC}
    for n, kind in enumerate(("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")):
        values[f"image/{kind.lower()}"] = encoded(Image.fromarray(DIGITS[200 + n]).convert("RGB"), kind)
    for media_type, value in values.items():
        sent = Sent(plain, running.kafka_topic, key=f"format/{media_type}".encode(), value=value)
        assert answer(client, value, sent, k=1) == [(f"format/{media_type}", 0.0)]
        shown = client.search(value, k=1).matches[0]
        assert shown.media_type == media_type


def test_same_id_replaces_and_null_deletes_also_after_a_restart_and_without_the_index_folder(
    running: Settings, client: Client, plain: KafkaProducer
) -> None:
    def published(image_id: str, value: bytes | None) -> Sent:
        return Sent(plain, running.kafka_topic, key=image_id.encode(), value=value)

    kept, gone = "a/b ?#😀", "gone"
    assert dict(answer(client, digit(1), published(kept, digit(1))))[kept] == 0.0
    assert dict(answer(client, digit(3), published(gone, digit(3))))[gone] == 0.0
    replaced, deleted = published(kept, digit(2)), published(gone, None)

    def assert_replaced_and_deleted() -> None:
        assert dict(answer(client, digit(2), replaced))[kept] == 0.0
        assert dict(answer(client, digit(1), replaced, k=100))[kept] > 0.0
        assert gone not in dict(answer(client, digit(3), deleted, k=100))

    assert_replaced_and_deleted()
    told = {image_id: [each["kind"] for each in client.history(image_id)] for image_id in (kept, gone)}
    assert told == {kept: ["put", "replaced"], gone: ["put", "deleted"]}
    with pytest.raises(ApiError, match="No image has the id"):
        client.history("never")
    groups.down(running, "programs")
    groups.up(running, "programs", tied=True)
    assert_replaced_and_deleted()

    before = client.index()["coverage"]["index_id"]
    running.index_dir.rename(running.index_dir.with_name("deleted"))
    wait_for(lambda: client.index()["coverage"]["index_id"] != before or None)
    assert_replaced_and_deleted()


BAD: dict[str, dict[str, Any]] = {
    "empty": {"key": b"bad/empty", "value": b""},
    "unsupported-type": {"key": b"bad/html", "value": b"<!doctype html><title>no image</title>"},
    "truncated": {"key": b"bad/truncated", "value": digit(3)[:-40]},
    "corrupt": {"key": b"bad/corrupt", "value": digit(3)[:60] + b"\0" * 40 + digit(3)[100:]},
    "bad-key": {"key": b"\xff\xfe", "value": digit(3)},
    "bad-metadata": {"key": b"bad/metadata", "value": digit(3), "headers": [("metadata", b"[1]")]},
    "too-large": {"key": b"bad/large", "value": digit(3) + bytes(IMAGE_SIZE_BYTES_MAX)},
    "too-many-scans": {"key": b"bad/scans", "value": b"\xff\xd8" + b"\xff\xda\x00\x02" * 100 + b"\xff\xd9"},
    "too-many-pixels": {"key": b"bad/bomb", "value": mnist.png(np.zeros((7100, 7100), np.uint8))},
}


def test_bad_messages_are_rejected_with_their_reason_and_the_good_ones_around_them_arrive(
    running: Settings, client: Client
) -> None:
    producer = KafkaProducer(bootstrap_servers=running.kafka_bootstrap, max_request_size=MESSAGE_SIZE_BYTES_MAX)
    before = client.index()["rejected"]
    for number, record in enumerate(BAD.values()):
        Sent(producer, running.kafka_topic, **record)
        last = Sent(producer, running.kafka_topic, key=f"good/{number}".encode(), value=digit(20 + number))
        assert answer(client, digit(20 + number), last)[0] == (f"good/{number}", 0.0)
    producer.close()

    def counted() -> dict[str, int] | None:
        rejected: dict[str, int] = client.index()["rejected"]
        new = {reason: n - before.get(reason, 0) for reason, n in rejected.items()}
        return new if sum(new.values()) == len(BAD) else None

    assert wait_for(counted) == dict.fromkeys(BAD, 1)


def test_50_queries_equal_brute_force_over_the_embeddings_in_the_feed(running: Settings, client: Client) -> None:
    with ImagePublisher(running) as publisher:
        futures = [
            publisher.put(digit(n), image_id=f"mnist/test/{n:05}", metadata={"index": n}) for n in range(100, 900)
        ]
        ends: dict[int, int] = {}
        for future in futures:
            confirmed = future.result(60)
            ends[confirmed.partition] = max(ends.get(confirmed.partition, 0), confirmed.offset + 1)
    wait_for(
        lambda: all(client.index()["coverage"]["offsets"].get(str(p), 0) >= end for p, end in ends.items()) or None
    )

    gallery = feed_embeddings(running)
    ids = sorted(gallery, key=str.encode)
    matrix = np.stack([gallery[image_id] for image_id in ids]).astype(np.float64)
    encoder = load_encoder(running.encoder)
    for n in range(2000, 2050):
        query = encoder.embed((DIGITS[n][..., None] / 255).astype(np.float32))
        distances = np.linalg.norm(matrix - query.astype(np.float64), axis=1)
        expected = [ids[row] for row in np.lexsort((np.arange(len(ids)), distances))[:10]]
        found = client.search(digit(n), k=10)
        assert [match.id for match in found.matches] == expected
        assert np.allclose([match.distance for match in found.matches], np.sort(distances)[:10], rtol=1e-12)
        assert found.coverage.count == len(ids)
        assert found.coverage.exact is True


def test_killed_embedder_loses_nothing_and_finds_every_image_once(running: Settings, client: Client) -> None:
    with ImagePublisher(running) as publisher:
        futures = [
            publisher.put(mnist.png(image), image_id=f"killed/{n:05}")
            for n, image in enumerate(mnist.images("train")[:3000])
        ]
        publisher.flush(60)
        start = client.index()["coverage"]["count"]
        wait_for(lambda: client.index()["coverage"]["count"] >= start + 200 or None)
        state = read_state(running, "programs")
        assert state is not None
        os.kill(next(process.pid for process in state.processes if process.name == "embedder"), signal.SIGKILL)
        ends: dict[int, int] = {}
        for future in futures:
            confirmed = future.result(60)
            ends[confirmed.partition] = max(ends.get(confirmed.partition, 0), confirmed.offset + 1)
    wait_for(
        lambda: all(client.index()["coverage"]["offsets"].get(str(p), 0) >= end for p, end in ends.items()) or None,
        timeout_s=90,
    )
    held = [image_id for image_id in verified_ids(running) if image_id.startswith("killed/")]
    assert sorted(held) == [f"killed/{n:05}" for n in range(3000)]


def test_details_thumbnail_and_original_are_those_of_the_record_that_was_found(
    running: Settings, client: Client, plain: KafkaProducer
) -> None:
    value = digit(950)
    metadata = {"label": int(mnist.labels("test")[950]), "note": "<img onerror>"}
    sent = Sent(
        plain,
        running.kafka_topic,
        key=b"with/metadata",
        value=value,
        headers=[("metadata", json.dumps(metadata).encode())],
    )
    answer(client, value, sent)
    match = client.search(value, k=1).matches[0]
    assert (match.id, match.metadata, match.same_bytes, match.same_pixels) == ("with/metadata", metadata, True, True)
    assert (match.width, match.height, match.media_type) == (28, 28, "image/png")
    only = {"must": [{"key": "note", "match": {"value": metadata["note"]}}]}
    filtered = client.search(value, filter=only)
    assert [found.id for found in filtered.matches] == ["with/metadata"] and filtered.coverage.matched == 1


def test_ids_of_any_characters_are_written_found_shown_and_deleted(client: Client) -> None:
    ids = ["a/b", "..", "%2F", "?", "#", "🦊", " ", "a&b=c+d", "\u202egnp.exe", "<img src=x>", "x" * 256, "é" * 128]
    written = {image_id: client.publish(digit(960 + n), image_id=image_id) for n, image_id in enumerate(ids)}
    for n, image_id in enumerate(ids):
        found = wait_for(
            lambda image_id=image_id: _unless_behind(  # type: ignore[misc]
                lambda: client.search_id(image_id, k=1, min_offsets=written[image_id].min_offsets, wait_ms=5000)
            )
        )
        assert [(match.id, match.distance) for match in found.matches] == [(image_id, 0.0)]
        assert client.image(image_id)["id"] == image_id
        assert client.original(image_id) == digit(960 + n)
    deleted = {image_id: client.delete(image_id) for image_id in ids}
    for image_id in ids:
        with pytest.raises(ApiError, match="unknown-image"):
            wait_for(
                lambda image_id=image_id: _unless_behind(  # type: ignore[misc]
                    lambda: client.search_id(image_id, min_offsets=deleted[image_id].min_offsets, wait_ms=5000)
                )
            )


def feed_embeddings(settings: Settings) -> dict[str, Any]:
    """The embeddings of the feed, read without the index: of each id the record with the latest (time, partition, offset)."""
    store = Store.connect(settings)
    fingerprint = load_encoder(settings.encoder).fingerprint
    latest: dict[str, tuple[tuple[int, int, int], bytes | None]] = {}
    try:
        for log in store.feed.logs(settings.kafka_topic):
            for partition in range(settings.kafka_partitions):
                effective = 0
                for row in store.feed.read(RecordKey(log, partition, 0), 100_000, fingerprint=fingerprint):
                    effective = max(effective, row.kafka_time_ms)
                    place = (effective, partition, row.key.offset)
                    if row.outcome != "reject" and latest.get(row.image_id, ((0, 0, -1), b""))[0] < place:
                        latest[row.image_id] = (place, row.embedding)
    finally:
        store.close()
    return {image_id: np.frombuffer(e, "<f4") for image_id, (_, e) in latest.items() if e is not None}
