"""The publisher on a real Kafka: what it confirms is there, and what is not there it does not confirm."""

import gc
import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from contract.errors import DependencyError, RejectedError
from contract.messages import IMAGE_SIZE_BYTES_MAX, image_id_of, metadata_of
from contract.settings import Settings, load_settings
from model import mnist
from stack.ports import free_ports
from tests.kafka_topic import read_topic, topic_log
from tests.waiting import wait_for
from topics.clients import open_admin
from topics.publisher import ImagePublisher
from topics.topic import ensure_topics

PNG = mnist.png(np.zeros((28, 28), np.uint8))


@contextmanager
def silent_broker(settings: Settings) -> Iterator[None]:
    """Kafka's process stands still: it takes connections and bytes, and answers nothing."""
    port = int(settings.kafka_bootstrap.rpartition(":")[2])
    broker = next(
        psutil.Process(found.pid)
        for found in psutil.net_connections("tcp")
        if found.status == psutil.CONN_LISTEN and found.laddr and found.laddr.port == port
    )
    broker.suspend()
    tasks = Path("/proc", str(broker.pid), "task")
    # The signal is one thread's to take; until it has come to that, the others go on.
    wait_for(lambda: all(") T " in stat.read_text() for stat in tasks.glob("*/stat")) or None, timeout_s=10)
    try:
        yield
    finally:
        broker.resume()


@pytest.fixture
def publisher(settings: Settings) -> Iterator[ImagePublisher]:
    ensure_topics(settings)
    opened = ImagePublisher(settings)
    yield opened
    opened.close()


def test_records_are_what_the_contract_says(settings: Settings, publisher: ImagePublisher) -> None:
    with_id = publisher.put(PNG, image_id="a/ü 🐈", metadata={"label": 7, "b": None}).result(10)
    without_id = publisher.put(PNG, metadata='{"z": 1, "a": 2}').result(10)
    deleted = publisher.delete("a/ü 🐈").result(10)
    records = {(record.partition, record.offset): record for record in read_topic(settings)}
    assert len(records) == 3
    for confirmed in (with_id, without_id, deleted):
        record = records[confirmed.partition, confirmed.offset]
        assert image_id_of(record.key, record.value) == confirmed.image_id
        assert confirmed.log == topic_log(settings)
        assert confirmed.min_offsets == f"{confirmed.partition}:{confirmed.offset + 1}"
    first, second, third = (records[c.partition, c.offset] for c in (with_id, without_id, deleted))
    assert (first.value, metadata_of(first.headers)) == (PNG, '{"b":null,"label":7}')
    assert (second.key, without_id.image_id) == (None, hashlib.sha256(PNG).hexdigest())
    assert metadata_of(second.headers) == '{"a":2,"z":1}'
    assert (third.key.decode(), third.value, third.headers) == ("a/ü 🐈", None, [])


def test_largest_allowed_image_passes(publisher: ImagePublisher) -> None:
    value = PNG + bytes(IMAGE_SIZE_BYTES_MAX - len(PNG))
    assert publisher.put(value, image_id="i" * 256, metadata={"m": "x" * 16_000}).result(20).offset == 0


@pytest.mark.parametrize(
    ("reason", "value", "image_id", "metadata"),
    [
        ("empty", b"", "a", None),
        ("unsupported-type", b"<html>", "a", None),
        ("too-large", PNG + bytes(IMAGE_SIZE_BYTES_MAX), "a", None),
        ("bad-key", PNG, "", None),
        ("bad-key", PNG, "a\nb", None),
        ("bad-key", PNG, "\udce9", None),
        ("bad-metadata", PNG, "a", {"a": float("nan")}),
        ("bad-metadata", PNG, "a", {"a": object()}),
        ("bad-metadata", PNG, "a", {"a": "x" * 17_000}),
        ("bad-metadata", PNG, "a", "[]"),
        ("bad-metadata", PNG, "a", '{"a": "\udce9"}'),
    ],
)  # fmt: skip
def test_what_every_reader_would_reject_is_refused_before_it_is_sent(
    publisher: ImagePublisher, reason: str, value: bytes, image_id: str, metadata: object
) -> None:
    with pytest.raises(RejectedError) as refused:
        publisher.put(value, image_id=image_id, metadata=metadata)  # type: ignore[arg-type]
    assert refused.value.reason == reason
    publisher.flush(0)


def test_threads_share_a_publisher_and_each_image_is_confirmed_at_its_own_place(
    settings: Settings, publisher: ImagePublisher
) -> None:
    def put(n: int) -> tuple[str, int, int]:
        confirmed = publisher.put(PNG, image_id=f"{n}").result(20)
        return confirmed.image_id, confirmed.partition, confirmed.offset

    with ThreadPoolExecutor(8) as pool:
        confirmed = set(pool.map(put, range(400)))
    publisher.flush(1)
    assert confirmed == {(record.key.decode(), record.partition, record.offset) for record in read_topic(settings)}


def test_leaving_the_context_waits_for_every_confirmation(settings: Settings) -> None:
    ensure_topics(settings)
    with ImagePublisher(settings) as publisher:
        sent = [publisher.put(PNG, image_id=str(n)) for n in range(50)]
    assert all(future.done() and future.exception() is None for future in sent)


@pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning"
)  # kafka-python leaves half-open sockets to the collector.
def test_without_kafka_the_constructor_fails_in_time_and_leaves_no_thread() -> None:
    settings = load_settings(kafka_bootstrap=f"127.0.0.1:{free_ports(1)[0]}")
    threads = set(threading.enumerate())
    started_s = time.monotonic()
    with pytest.raises(DependencyError, match="LOOKALIKE_KAFKA_BOOTSTRAP"):
        ImagePublisher(settings, connect_timeout_s=1.0)
    assert time.monotonic() - started_s < 3
    assert set(threading.enumerate()) == threads
    gc.collect()


def test_missing_topic_is_named_with_its_remedy(settings: Settings) -> None:
    with pytest.raises(DependencyError, match="python -m producers topics"):
        ImagePublisher(settings, connect_timeout_s=1.0)


def test_confirmations_name_the_new_log_after_the_topic_was_created_anew(
    settings: Settings, publisher: ImagePublisher
) -> None:
    publisher.put(PNG, image_id="a").result(10)
    admin = open_admin(settings)
    admin.delete_topics([settings.kafka_topic])
    admin.close()
    ensure_topics(settings)
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        confirmed = publisher.put(PNG, image_id="a").result(40)
        if confirmed.log == topic_log(settings):
            break
    assert confirmed.log == topic_log(settings)
    assert [record.offset for record in read_topic(settings)][-1] == confirmed.offset


def test_nothing_is_confirmed_while_kafka_does_not_answer(settings: Settings) -> None:
    ensure_topics(settings)
    publisher = ImagePublisher(settings, connect_timeout_s=2.0, delivery_timeout_s=2.0)
    publisher.put(PNG, image_id="before").result(10)
    with silent_broker(settings):
        sent = publisher.put(PNG, image_id="during")
        with pytest.raises(DependencyError, match="1 records were not confirmed"):
            publisher.flush(0.2)
        with pytest.raises(DependencyError, match="'during' was not confirmed"):
            sent.result(4)
        publisher.flush(0)
    assert publisher.put(PNG, image_id="after").result(10).image_id == "after"
    publisher.close()


def test_closing_while_kafka_does_not_answer_fails_what_is_open_and_ends_every_thread(settings: Settings) -> None:
    ensure_topics(settings)
    threads = set(threading.enumerate())
    publisher = ImagePublisher(settings)
    publisher.put(PNG, image_id="before").result(10)
    with silent_broker(settings):
        sent = publisher.put(PNG, image_id="during")
        publisher.close(timeout_s=0.2)
        with pytest.raises(DependencyError, match="'during' was not confirmed"):
            sent.result(0)
        wait_for(lambda: True if set(threading.enumerate()) <= threads else None, timeout_s=5)
        with pytest.raises(DependencyError):
            publisher.put(PNG, image_id="late")
    publisher.close()
