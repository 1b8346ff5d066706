"""Restores a backup into empty servers. Nothing of it is served before all of it is there: what names it is written last."""

import os
from collections.abc import Iterator
from pathlib import Path

from contract.collections import Collection, default_collection, settings_of
from contract.errors import ConfigurationError
from contract.settings import Settings
from gallery.backup.backing_up import collection_in, table_file, topic_file, topics_of
from gallery.backup.files import BackupError, BackupManifest, FileRow, read_backup, read_frames
from gallery.generations.manifest import CURRENT
from gallery.generations.writer import lock_index
from gallery.store.schema import SCHEMA_VERSION
from gallery.store.store import Store
from gallery.store.tables import TABLES
from topics.copying import CopiedRecord, publish_records
from topics.topic import Topic, ensure_topics

# What a gallery consists of: while these are empty, nobody reads the other tables.
_LAST = ("logs", "collections")


def restore_backup(settings: Settings, store: Store, folder: Path) -> BackupManifest:
    """Write what a backup holds into servers that hold nothing of its topics.

    Interrupted before anything was published it may be run again.

    Raises:
        BackupError: the backup is damaged or of a newer version, or there is something already.
        DependencyError: Kafka or Cassandra failed.
    """
    manifest = read_backup(folder)
    if manifest.schema > SCHEMA_VERSION:
        raise BackupError(
            f"{folder} has a schema of version {manifest.schema}, this program knows {SCHEMA_VERSION}. Restore it with lookalike "
            f"{manifest.version}."
        )
    if manifest.topic != settings.kafka_topic:
        raise BackupError(
            f"{folder} is of the topic {manifest.topic}, the settings name {settings.kafka_topic}. Set "
            f"LOOKALIKE_KAFKA_TOPIC={manifest.topic}."
        )
    own = [_settings(settings, each, manifest) for each in _collections(settings, folder)]
    locks = [_locked(each) for each in own]
    try:
        _refuse_what_is_there(own, store, folder)
        for table in reversed(TABLES):
            if table not in _LAST:
                _write(store, table, folder)
        for each in own:
            _publish(each, manifest, folder)
        for each in own:
            for current in each.index_dir.glob(f"*/{CURRENT}"):
                current.unlink()  # an index that was made before the restoration
        for table in _LAST:
            _write(store, table, folder)
    finally:
        for lock in locks:
            os.close(lock)
    return manifest


def _collections(settings: Settings, folder: Path) -> list[Collection]:
    names, *rows = read_frames(folder / table_file("collections"))
    registered = {found.name: found for found in (collection_in(names, row) for row in rows)}
    default = default_collection(settings, registered)
    return [default, *(found for found in registered.values() if found.name != default.name)]


def _settings(settings: Settings, collection: Collection, manifest: BackupManifest) -> Settings:
    own = settings_of(settings, collection)
    return own.model_copy(update={"kafka_partitions": manifest.partitions.get(own.kafka_topic, collection.partitions)})


def _locked(settings: Settings) -> int:
    """The lock of the index that an indexer would write."""
    lock = lock_index(settings.encoder_index_dir)
    if lock is None:
        raise BackupError("An indexer runs. Stop our programs first: lookalike down --only programs")
    return lock


def _refuse_what_is_there(own: list[Settings], store: Store, folder: Path) -> None:
    """Raise BackupError unless there is no collection, no image and no record."""
    _, *rows = read_frames(folder / table_file("logs"))
    logs = {value for row in rows for value in row if isinstance(value, str)}
    if store.registry.collections():
        raise BackupError("There are collections in Cassandra. Restore into empty servers only: lookalike wipe")
    for settings in own:
        for log in store.feed.logs(settings.kafka_topic):
            if log in logs or store.feed.fingerprints(log):
                raise BackupError(f"Cassandra holds images of {log}. Restore into empty servers only: lookalike wipe")
        ensure_topics(settings)
        for name in topics_of(settings):
            topic = Topic(settings.model_copy(update={"kafka_topic": name}))
            try:
                ends = topic.end_offsets()
            finally:
                topic.close()
            offsets = {} if ends is None else ends.offsets
            if any(offsets.values()):
                raise BackupError(
                    f"The topic {name} has had records, maybe of a restoration that was interrupted. Restore into empty servers "
                    "only: lookalike wipe"
                )
            if name == settings.kafka_topic and len(offsets) < settings.kafka_partitions:
                raise ConfigurationError(
                    f"The topic {name} has {len(offsets)} partitions, the backup needs {settings.kafka_partitions}. Delete it."
                )


def _write(store: Store, table: str, folder: Path) -> None:
    frames = read_frames(folder / table_file(table))
    store.tables.write(table, next(frames), frames)


def _publish(settings: Settings, manifest: BackupManifest, folder: Path) -> None:
    for name in topics_of(settings):
        if topic_file(name) in manifest.files:
            publish_records(settings, name, map(_record, read_frames(folder / topic_file(name))))


def _record(frame: FileRow) -> CopiedRecord:
    *told, headers = frame
    return CopiedRecord._make([*told, [(name, content) for name, content in headers]])


def backup_counts(manifest: BackupManifest) -> Iterator[tuple[str, int, int]]:
    """What a backup holds: by name of the table or topic, rows or records, and bytes."""
    for name, file in sorted(manifest.files.items()):
        is_table = name.startswith("table-")
        yield Path(name).stem, file.frames - is_table, file.size_bytes
