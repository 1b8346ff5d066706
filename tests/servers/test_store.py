"""The store on a real Cassandra: rows come back as they were written, in Kafka's order, whatever the holes."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from contract.errors import DependencyError
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.store import Store
from runtime.retrying import retrying
from tests.relay import Relay
from tests.waiting import wait_for

ENCODER = "0123456789abcdef"


@pytest.fixture(scope="module")
def store(stack: Settings) -> Iterator[Store]:
    opened = Store.connect(stack)
    yield opened
    opened.close()


def feed_row(log: str, offset: int, after: int | None = None, partition: int = 0) -> FeedRow:
    embedding = np.arange(offset, offset + 128, dtype="<f4").tobytes()
    begin = offset if after is None else after
    return FeedRow(
        RecordKey(log, partition, offset), begin, "put", "", f"id/{offset}", embedding, 1_700_000_000_000 + offset, 5,
        metadata=f'{{"ä":{offset}}}',
    )  # fmt: skip


def test_feed_rows_come_back_in_offset_order_with_the_same_bytes(store: Store) -> None:
    rows = [feed_row("order", offset) for offset in range(300)]
    store.feed.write(reversed(rows), fingerprint=ENCODER)
    assert store.feed.read(RecordKey("order", 0, 0), 1000, fingerprint=ENCODER) == rows
    assert store.feed.read(RecordKey("order", 0, 250), 10, fingerprint=ENCODER) == rows[250:260]
    assert store.feed.read(RecordKey("order", 0, 0), 10, fingerprint="another encoder") == []


def test_put_of_an_earlier_version_comes_back_with_its_records_metadata(store: Store) -> None:
    """Such a row says nothing of metadata. Its record may lie in any bucket, or be missing."""
    offsets = [0, 1, 511, 512, 1999]
    rows = [replace(feed_row("older", offset), metadata=None) for offset in offsets]
    rows[1] = replace(rows[1], outcome="delete", embedding=None)
    store.feed.write(rows, fingerprint=ENCODER)
    store.records.write(
        ImageRecord(
            RecordKey("older", 0, offset), "a", "image/png", 1, 1, 1, b"s" * 32, b"p" * 32, f'{{"n":{offset}}}', b"t",
            b"o", 1_700_000_000_000,
        )
        for offset in offsets[:-1]
    )  # fmt: skip
    told = ['{"n":0}', None, '{"n":511}', '{"n":512}', ""]
    expected = [replace(row, metadata=metadata) for row, metadata in zip(rows, told, strict=True)]
    assert store.feed.read(RecordKey("older", 0, 0), 100, fingerprint=ENCODER) == expected
    assert store.feed.read(RecordKey("older", 0, 511), 1, fingerprint=ENCODER) == expected[2:3]


def test_next_feed_offset_is_the_first_that_the_feed_lacks(store: Store) -> None:
    store.feed.write([feed_row("gap", offset) for offset in (0, 1, 2, 4)], fingerprint=ENCODER)
    assert store.feed.next_offset(RecordKey("gap", 0, 0), fingerprint=ENCODER) == 3
    assert store.feed.next_offset(RecordKey("gap", 0, 3), fingerprint=ENCODER) == 3
    assert store.feed.next_offset(RecordKey("gap", 0, 9), fingerprint=ENCODER) == 3, (
        "rows before the committed offset were lost"
    )
    assert store.feed.next_offset(RecordKey("nothing", 0, 7), fingerprint=ENCODER) == 0


def test_holes_wider_than_a_bucket_are_passed(store: Store) -> None:
    far = 5 << 13
    rows = [feed_row("hole", 0), feed_row("hole", far, after=1)]
    store.feed.write(rows, fingerprint=ENCODER)
    assert store.feed.next_offset(RecordKey("hole", 0, 1), fingerprint=ENCODER) == far + 1
    behind = RecordKey("hole", 0, 1)
    assert store.feed.read(behind, 10, fingerprint=ENCODER) == [], "it does not look that far by itself"
    assert store.feed.read(behind, 10, fingerprint=ENCODER, past_holes=True) == rows[1:]
    assert list(store.feed.walk(behind._replace(offset=0), fingerprint=ENCODER)) == rows
    assert list(store.feed.walk(behind._replace(offset=0), fingerprint=ENCODER, end_offset=far)) == rows[:1]
    assert list(store.feed.walk(behind, fingerprint=ENCODER, end_offset=1)) == []
    assert store.feed.partitions("hole", fingerprint=ENCODER) == {0}


@pytest.mark.parametrize("size", [1, 16 * 1024, 16 * 1024 + 1, 3 * 1024 * 1024])
def test_originals_of_any_size_come_back(store: Store, size: int) -> None:
    value = np.random.default_rng(size).bytes(size)
    key = RecordKey("originals", 1, size)
    inline = value if size <= 16 * 1024 else None
    record = ImageRecord(
        key, "a", "image/png", 28, 30, size, b"s" * 32, b"p" * 32, '{"label":7}', b"thumb", inline, 1_700_000_000_000
    )
    if inline is None:
        store.records.write_originals([(key, value, record.kafka_time_ms)])
    store.records.write([record])
    assert store.records.read_original(key) == value
    found = store.records.read([key, RecordKey("originals", 1, size + 1)])
    assert list(found) == [key]
    assert found[key].metadata == '{"label":7}'
    assert found[key].thumbnail == b"thumb"


def test_logs_are_listed_by_when_they_were_first_seen(store: Store) -> None:
    for log in ("t:z", "t:a", "t:z"):
        store.feed.add_log(topic="t", log=log)
    assert store.feed.logs("t") == ["t:z", "t:a"]


def test_an_image_has_its_own_rows_in_order_and_no_others(store: Store) -> None:
    """Of one log and encoder, across partitions and buckets, also beside a row whose id is no text."""
    far = 5 << 13
    own = [
        feed_row("history", 1),
        replace(feed_row("history", 7), outcome="delete", embedding=None),
        feed_row("history", far),
        replace(feed_row("history", 0, partition=2), outcome="reject", reason="corrupt", embedding=None),
    ]
    own = [replace(row, image_id="ä b") for row in own]
    others = [feed_row("history", 2), replace(feed_row("another", 3), image_id="ä b")]
    store.feed.write([*reversed(own), *others], fingerprint=ENCODER)
    store.feed.write([replace(feed_row("history", 9), image_id="ä b")], fingerprint="another encoder")

    def told() -> tuple[list[FeedRow], bool] | None:
        try:
            return store.feed.of_image("ä b", "history", fingerprint=ENCODER)
        except DependencyError:
            return None  # Cassandra is still making the index

    rows, is_all = wait_for(told, timeout_s=30)
    assert is_all
    assert rows == [replace(row, embedding=None, metadata=None) for row in own]
    assert store.feed.of_image("unknown", "history", fingerprint=ENCODER) == ([], True)


def test_programs_that_start_at_once_make_the_tables_together(stack: Settings) -> None:
    """What one of them makes is described to the others before they can ask it: they are told to try again."""
    settings = stack.model_copy(update={"cassandra_keyspace": f"{stack.cassandra_keyspace}_once"})
    stop = threading.Event()

    def start(_: int) -> None:
        retrying(lambda: Store.connect(settings), "cassandra", stop).close()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(start, range(6))) == [None] * 6


def test_write_while_no_host_is_up_fails(stack: Settings) -> None:
    """The driver then names no reason at all, which is not to be taken for a socket that is busy for a moment."""
    with Relay(stack.cassandra_port) as relay, ThreadPoolExecutor() as pool:
        behind = Store.connect(stack.model_copy(update={"cassandra_port": relay.port}))
        relay.cut()
        try:
            wait_for(lambda: names_no_host(behind) or None)
            writing = pool.submit(behind.feed.write, [feed_row("cut off", 0)], fingerprint=ENCODER)
            with pytest.raises(DependencyError, match="writing the feed"):
                writing.result(30)
        finally:
            relay.mend()
            behind.close()


def names_no_host(store: Store) -> bool:
    """Whether a question fails without any host having been asked."""
    try:
        store.feed.read(RecordKey("cut off", 0, 0), 1, fingerprint=ENCODER)
    except DependencyError as error:
        return error.detail.endswith("{})")
    return False
