"""A backup of a real Kafka and Cassandra, restored into empty ones, answers as before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.collections import settings_of
from contract.settings import Settings
from gallery.backup.backing_up import back_up
from gallery.backup.files import BackupError
from gallery.backup.restoring import restore_backup
from gallery.collections import create_collection
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.store.store import Store
from gallery.store.watches import StoredWatch, WatchStart
from gallery.table.reader import newest_table
from gallery.table.snapshot import AnySnapshot
from tests.conftest import fresh_settings
from tests.embedding import Sent, make_topics, picture, publish
from tests.parts import Parts
from tests.waiting import wait_for
from topics.matches import MatchPublisher, MatchReader, MatchSource, WatchMatch
from topics.rejected import read_rejected
from topics.removal import delete_topics


@contextmanager
def running(settings: Settings, *names: str) -> Iterator[Parts]:
    parts = Parts(settings, [])
    parts.start(*names)
    try:
        yield parts
    finally:
        parts.stop()


def covering(settings: Settings, sent: list[Sent]) -> Snapshot:
    """A generation that covers these records of the topic as it is now."""

    def found() -> Snapshot | None:
        snapshot = Reader(settings.encoder_index_dir, None).current()
        offsets = {} if snapshot is None else snapshot.manifest.offsets
        return snapshot if all(offsets.get(str(each.partition), 0) > each.offset for each in sent) else None

    return wait_for(found)


def holding(settings: Settings, wanted: dict[str, bytes]) -> Snapshot:
    """A generation with exactly these images and embeddings."""

    def found() -> Snapshot | None:
        snapshot = Reader(settings.encoder_index_dir, None).current()
        return snapshot if snapshot is not None and contents(snapshot) == wanted else None

    return wait_for(found)


def contents(snapshot: AnySnapshot) -> dict[str, bytes]:
    return {image_id: embedding for image_id, (_, embedding) in snapshot.contents()}


def of_table(store: Store, settings: Settings) -> dict[str, bytes] | None:
    """What a collection's table of embeddings holds, once it holds anything."""
    snapshot = newest_table(store, settings)
    return None if snapshot is None else contents(snapshot) or None


def match(number: int) -> WatchMatch:
    return WatchMatch(
        id=f"match/{number}",
        watch="w",
        name="",
        collection="default",
        image="id/1",
        distance=0.0,
        source=MatchSource("log", 0, number, 1),
        verdict=None,
        created_at=1,
    )


def test_a_restored_backup_answers_as_what_was_backed_up(stack: Settings, tmp_path: Path) -> None:
    settings = fresh_settings(
        stack,
        tmp_path,
        var_dir=tmp_path / "var",
        kafka_partitions=2,
        encoder="contrast",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_backup",
    )
    log = make_topics(settings)
    store = Store.connect(settings)
    second = settings_of(
        settings,
        create_collection(
            settings, store.registry, name="second", encoder="contrast", partitions=1, engine="cassandra"
        ),
    )
    stored = [Sent(f"id/{n}".encode(), picture(n), (("metadata", b'{"n": %d}' % n),), n % 2) for n in range(20)]
    stored += [
        Sent(b"large", picture(90, size=300), (), 0),
        Sent(b"bad", b"no picture", (), 1),
        Sent(b"id/3", None, (), 1),
        Sent(b"id/4", picture(40), (), 0),
    ]
    with running(settings, "embedder", "indexer"):
        before = covering(settings, publish(settings, stored))
        publish(second, [Sent(b"other", picture(70))])
        of_second = wait_for(lambda: of_table(store, second))
    watch = StoredWatch(
        topic=settings.kafka_topic,
        id="w",
        name="mine",
        embedding=contents(before)["id/1"],
        encoder=before.manifest.encoder,
        max_distance=1.0,
        filter="",
        webhook="https://example.org/",
        secret="s",
        start=WatchStart(log=log, offsets={}),
        created_at_ms=1,
    )
    store.watches.add(watch)
    publisher = MatchPublisher(settings)
    publisher.publish([match(n) for n in range(5)])
    publisher.close()
    store.watches.tell_from(settings.kafka_topic, {"w": 3})
    # What no embedder has seen is in Kafka alone.
    late = publish(settings, [Sent(b"id/5", None, (), 1), Sent(b"new", picture(80), (("metadata", b'{"n": 1}'),), 1)])
    late += publish(settings, [Sent(b"id/6", picture(41), (), 1), Sent(b"id/6", picture(42), (), 0)])
    folder = tmp_path / "backup"
    backup = back_up(settings, store, folder)
    assert backup.partitions == {settings.kafka_topic: 2, second.kafka_topic: 1}
    with pytest.raises(BackupError, match="not empty"):
        back_up(settings, store, folder)
    with pytest.raises(BackupError, match="There are collections"):
        restore_backup(settings, store, folder)
    with running(settings, "embedder", "indexer"):
        expected = covering(settings, late)
    originals = {each: original(store, expected, each) for each in ("large", "id/4", "new")}
    store.close()

    for each in (settings, second):
        delete_topics(each)
    restored = settings.model_copy(
        update={"cassandra_keyspace": f"{settings.cassandra_keyspace}_2", "index_dir": tmp_path / "restored"}
    )
    empty = Store.connect(restored)
    damaged = folder / "table-feed.rows"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-9] + b"x" + whole[-8:])
    with pytest.raises(BackupError, match="damaged"):
        restore_backup(restored, empty, folder)
    assert not empty.feed.logs(settings.kafka_topic) and not list(empty.tables.rows("feed", ["log"]))
    damaged.write_bytes(whole)
    restore_backup(restored, empty, folder)
    with pytest.raises(BackupError, match="There are collections"):
        restore_backup(restored, empty, folder)

    # The same bytes again: nothing was lost or changed on the way.
    again = back_up(restored, empty, tmp_path / "again")
    tables = ("feed", "records", "originals", "watch_images", "distinct_images")
    assert {t: again.files[f"table-{t}.rows"] for t in tables} == {t: backup.files[f"table-{t}.rows"] for t in tables}

    with running(restored, "embedder", "indexer"):
        found = holding(restored, contents(expected))
        own = settings_of(restored, empty.registry.collections()["second"])
        assert own.engine == "cassandra"
        assert wait_for(lambda: of_table(empty, own)) == of_second
    query = np.frombuffer(contents(expected)["id/7"], "<f4")
    assert [(m.image_id, m.distance) for m in found.search(query, 30)] == [
        (m.image_id, m.distance) for m in expected.search(query, 30)
    ]
    assert found.manifest.logs[0].log == log and len(found.manifest.logs) == 2
    assert {each: original(empty, found, each) for each in originals} == originals
    assert [r.value for r in read_rejected(restored)] == [b"no picture"]
    assert empty.watches.all(settings.kafka_topic) == [replace(watch, told_from=0)]
    reader = MatchReader(restored, "test")
    reader.seek(0)
    assert [each.match.id for each in reader.read_to(reader.end_offset())] == ["match/3", "match/4"]
    reader.close()
    empty.close()


@pytest.mark.thorough
def test_a_backup_under_load_is_the_state_of_one_moment(stack: Settings, tmp_path: Path) -> None:
    """Whatever the embedder was in the middle of, each record is in the backup once: in the feed, or among Kafka's."""
    settings = fresh_settings(
        stack,
        tmp_path,
        var_dir=tmp_path / "var",
        kafka_partitions=2,
        encoder="contrast",
        cassandra_keyspace=f"{stack.cassandra_keyspace}_loaded",
    )
    make_topics(settings)
    store = Store.connect(settings)
    ended = threading.Event()
    sent: list[Sent] = []

    def load() -> None:
        while not ended.is_set():
            sent.extend(publish(settings, [Sent(b"id/%d" % (len(sent) + n), picture(n), (), n % 2) for n in range(40)]))

    thread = threading.Thread(target=load)
    with running(settings, "embedder", "indexer"):
        thread.start()
        wait_for(lambda: len(sent) > 400 or None)
        known = len(sent)
        back_up(settings, store, tmp_path / "backup")
        ended.set()
        thread.join()
    store.close()
    delete_topics(settings)
    restored = settings.model_copy(
        update={"cassandra_keyspace": f"{settings.cassandra_keyspace}_2", "index_dir": tmp_path / "restored"}
    )
    empty = Store.connect(restored)
    restore_backup(restored, empty, tmp_path / "backup")
    with running(restored, "embedder", "indexer"):
        wanted = {(each.key or b"").decode() for each in sent[:known]}

        def holds_all() -> bool | None:
            snapshot = Reader(restored.encoder_index_dir, None).current()
            return (snapshot is not None and wanted <= contents(snapshot).keys()) or None

        wait_for(holds_all)
    empty.close()


def original(store: Store, snapshot: Snapshot, image_id: str) -> bytes | None:
    found = snapshot.find(image_id)
    assert found is not None
    return store.records.read_original(found.source)
