"""Backs up all collections while everything runs: what Cassandra holds of them, and what Kafka holds and Cassandra does not.

First it is asked how far the feed of each partition goes without a gap. Every row below that is there by then and never changes,
and whatever lies at or behind it is taken from Kafka instead. So a backup is the state of one moment, however long it takes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.collections import Collection, served_collections, settings_of
from contract.errors import ConfigurationError
from contract.record_key import RecordKey
from contract.settings import Settings
from contract.version import VERSION
from gallery.backup.files import (
    BACKUP_FORMAT,
    BackupError,
    BackupFile,
    BackupManifest,
    FileRow,
    write_backup_manifest,
    write_frames,
)
from gallery.generations.serving import ServingFile
from gallery.store.schema import SCHEMA_VERSION
from gallery.store.store import Store
from gallery.store.tables import TABLES
from model.encoder import load_encoder
from topics.copying import read_records
from topics.topic import Topic


@dataclass
class _Scope:
    """What belongs to the backup.

    Attributes:
        ends: by log and partition, where the backed up feed ends.
        feed_ends: the same of one encoder's feed, which may end before.
        tails: by topic, the first offset of each partition that is taken from Kafka.
        matches: by topic, the first offset of the matches that a webhook may still want; None where none does.
        partitions: by topic.
    """

    default_topic: str
    ends: dict[tuple[str, int], int] = field(default_factory=dict)
    feed_ends: dict[tuple[str, str, int], int] = field(default_factory=dict)
    tails: dict[str, dict[int, int]] = field(default_factory=dict)
    matches: dict[str, int | None] = field(default_factory=dict)
    partitions: dict[str, int] = field(default_factory=dict)
    watch_ids: set[str] = field(default_factory=set)


def back_up(settings: Settings, store: Store, folder: Path) -> BackupManifest:
    """Write a backup of all collections into a new or empty folder.

    Raises:
        BackupError: the folder holds something, or cannot be written.
        DependencyError: Kafka or Cassandra failed; what was written is no backup.
    """
    _make(folder)
    collections = served_collections(settings, store.registry.collections())
    scope, encoders = _Scope(settings.kafka_topic), {}
    for collection in collections.values():
        own = settings_of(settings, collection)
        encoders[collection.name] = ServingFile(own.index_dir, own.encoder).current().encoder
        _measure(own, store, scope, encoders[collection.name])
    files = {
        table_file(table): write_frames(folder / table_file(table), _table(store, table, scope)) for table in TABLES
    }
    for collection in collections.values():
        files |= _topics(settings_of(settings, collection), folder, scope)
    manifest = BackupManifest(
        format=BACKUP_FORMAT,
        schema=SCHEMA_VERSION,
        version=VERSION,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        topic=settings.kafka_topic,
        partitions=scope.partitions,
        encoders=encoders,
        files=files,
    )
    write_backup_manifest(folder, manifest)
    return manifest


def table_file(table: str) -> str:
    """Name of the file that holds a table."""
    return f"table-{table}.rows"


def topic_file(topic: str) -> str:
    """Name of the file that holds a topic's records."""
    return f"topic-{topic}.records"


def topics_of(settings: Settings) -> tuple[str, str, str]:
    """The topics of a collection, in the order in which they are restored."""
    return settings.rejected_topic, settings.matches_topic, settings.kafka_topic


def collection_in(names: list[str], row: FileRow) -> Collection:
    """The collection that a row of the table says."""
    told = dict(zip(names, row, strict=True))
    return Collection(
        name=told["name"],
        encoder=told["encoder"],
        partitions=told["partitions"],
        engine=told.get("engine") or "exact",
        beside=told.get("beside"),
    )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(folder.iterdir()):
            raise BackupError(f"{folder} is not empty. Name a new folder.")
    except OSError as error:
        raise BackupError(f"{folder} cannot be made: {error.strerror}.") from error


def _measure(settings: Settings, store: Store, scope: _Scope, encoder: str) -> None:
    """Note where the feeds of one collection end, and what of its topics is to be copied."""
    topic = Topic(settings)
    try:
        current, firsts = topic.check(), topic.first_offsets()
    except ConfigurationError:
        current, firsts = "", {}
    finally:
        topic.close()
    fingerprint = load_encoder(encoder, settings.encoders_dir).fingerprint
    for log in store.feed.logs(settings.kafka_topic):
        fingerprints = store.feed.fingerprints(log)
        of_feed = {each: store.feed.partitions(log, fingerprint=each) for each in fingerprints}
        for partition in set().union(*of_feed.values(), firsts if log == current else ()):
            place = RecordKey(log, partition, 0)
            ends = {each: store.feed.next_offset(place, fingerprint=each) for each in fingerprints}
            end = ends.get(fingerprint, max(ends.values(), default=0))
            scope.ends[log, partition] = end
            scope.feed_ends |= {(log, each, partition): min(end, found) for each, found in ends.items()}
            if log == current:
                scope.tails.setdefault(settings.kafka_topic, {})[partition] = end
    if current:
        scope.partitions[settings.kafka_topic] = len(firsts)
        scope.tails.setdefault(settings.kafka_topic, {})
    told = [each.told_from for each in store.watches.all(settings.kafka_topic) if each.webhook]
    scope.matches[settings.kafka_topic] = min((each for each in told if each is not None), default=None)


def _table(store: Store, table: str, scope: _Scope) -> Iterator[FileRow]:
    """The names of a table's columns, and then what of its rows belongs to the backup."""
    names = list(store.tables.columns(table))
    yield names
    for row in store.tables.rows(table, names):
        told = dict(zip(names, row, strict=True))
        if _belongs(table, told, scope):
            yield [told[name] for name in names]


def _belongs(table: str, row: dict[str, Any], scope: _Scope) -> bool:
    """Whether a row does. What it says of places among the matches is brought to the topic that will begin anew."""
    if table == "collections":
        return bool(row["topic"] == scope.default_topic and not row["dropped"])
    if table == "watch_images":
        return row["id"] in scope.watch_ids
    if table == "feed":
        return bool(row["koffset"] < scope.feed_ends.get((row["log"], row["encoder"], row["kpart"]), 0))
    if table in ("records", "originals"):
        return bool(row["koffset"] < scope.ends.get((row["log"], row["kpart"]), 0))
    if row["topic"] not in scope.matches:
        return False
    first = scope.matches[row["topic"]]
    if table == "watches":
        scope.watch_ids.add(row["id"])
        if row["told_from"] is not None:
            row["told_from"] = 0 if first is None else max(0, row["told_from"] - first)
    if table == "watch_progress" and row["log"] == f"{row['topic']}.matches":
        row["next_offset"] = 0 if first is None else max(0, row["next_offset"] - first)
    return True


def _topics(settings: Settings, folder: Path, scope: _Scope) -> dict[str, BackupFile]:
    """Copy what only Kafka holds: rejected records, matches that webhooks may want, and images behind the feed."""
    topic = settings.kafka_topic
    if topic not in scope.tails:
        return {}
    first = scope.matches[topic]
    starts: dict[str, dict[int, int] | None] = {
        topic: scope.tails[topic],
        settings.rejected_topic: {},
        settings.matches_topic: None if first is None else {0: first},
    }
    files = {}
    for name, start in starts.items():
        if start is not None:
            records = read_records(settings, name, start)
            files[topic_file(name)] = write_frames(folder / topic_file(name), map(list, records))
    return files
