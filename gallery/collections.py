"""Creates, finds and drops collections: their row in the registry first, what belongs to them then; when they go, the other way round."""

import contextlib
import os
import time
from collections.abc import Callable, Mapping

from contract.collections import (
    DEFAULT_COLLECTION,
    Collection,
    check_collection_name,
    default_collection,
    settings_of,
)
from contract.errors import CollectionExistsError, ConfigurationError, DependencyError, UnknownCollectionError
from contract.settings import Engine, Settings
from gallery.generations.collection_file import read_collections, read_default
from gallery.generations.files import discard
from gallery.generations.writer import lock_index
from gallery.store.registry import Registry
from gallery.store.store import Store
from gallery.table.lease import lease_folder
from model.encoder import load_encoder
from runtime.failpoints import failpoint
from topics.removal import delete_topics, missing_topics
from topics.topic import ensure_topics

PARTITIONS_MAX = 10_000
# Kafka's own bound; the rejected topic has the longer name.
_TOPIC_SIZE_MAX = 249
# An indexer looks at the registry every second or two, and may have a step and a build to end.
LET_GO_S = 60.0
_POLL_S = 0.1


def create_collection(
    settings: Settings,
    registry: Registry,
    *,
    name: str,
    encoder: str,
    partitions: int | None = None,
    engine: Engine = "exact",
) -> Collection:
    """Create a collection with its topics. What an earlier try left unfinished is finished.

    Args:
        settings: of the process.
        partitions: of its topic; None is LOOKALIKE_KAFKA_PARTITIONS.
        engine: what is to answer.

    Raises:
        CollectionExistsError: there is one of this name.
        ConfigurationError: the name or the number of partitions cannot be, there is no such encoder, or a topic of this name is
            there that cannot serve.
        DependencyError: Kafka or Cassandra did not do it; try again.
    """
    wanted = Collection(
        name=check_collection_name(name),
        encoder=encoder,
        partitions=settings.kafka_partitions if partitions is None else partitions,
        engine=engine,
    )
    own = settings_of(settings, wanted)
    _check(wanted, own)
    if name == DEFAULT_COLLECTION:
        raise CollectionExistsError("There is a collection default always: its topic and encoder are settings.")
    is_new = registry.add(name=name, encoder=encoder, partitions=wanted.partitions, engine=engine)
    failpoint("collection-after-row")
    found = registry.collections().get(name)
    if found is None:
        raise DependencyError("cassandra", f"the collection {name} was dropped while it was created.")
    if not is_new and (found.is_dropped or not _is_unfinished(found, wanted, own)):
        raise CollectionExistsError(
            f"There is a collection {name} already"
            + (
                f" that is being dropped. End that: lookalike collections drop {name}"
                if found.is_dropped
                else f", with the encoder {found.encoder}. Choose another name, or drop it: lookalike collections drop {name}"
            )
        )
    try:
        ensure_topics(own)
    except ConfigurationError:
        if is_new:
            registry.remove(name)
        raise
    return found


def find_collection(settings: Settings, registry: Registry, name: str) -> Collection:
    """The collection of this name, `default` included.

    Raises:
        UnknownCollectionError: there is none, or it is being dropped.
        DependencyError: Cassandra did not answer.
    """
    registered = registry.collections()
    return default_collection(settings, registered) if name == DEFAULT_COLLECTION else _found(registered, name)


def indexed_settings(settings: Settings, name: str) -> Settings:
    """The settings of a collection that has an index on this machine.

    Raises:
        UnknownCollectionError: there is none.
    """
    if name == DEFAULT_COLLECTION:
        return settings_of(settings, read_default(settings))
    return settings_of(settings, _found(read_collections(settings), name))


def drop_collection(
    settings: Settings,
    store: Store,
    name: str,
    *,
    wait_s: float = LET_GO_S,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Drop a collection: topics, feed, records, originals, indexes, and its row last, so that an interrupted drop can be repeated.

    Args:
        settings: of the process.
        wait_s: how long an indexer may take to let go of the index.

    Raises:
        ConfigurationError: it is `default`.
        UnknownCollectionError: there is none of this name.
        DependencyError: Kafka or Cassandra did not do it; drop it again.
    """
    if name == DEFAULT_COLLECTION:
        raise ConfigurationError(
            "The collection default cannot be dropped: what serves the settings' topic and encoder. To empty it, delete its "
            "images, or stop everything and run: lookalike wipe"
        )
    if not store.registry.mark_dropped(name):
        raise unknown_collection_error(store.registry.collections(), name)
    failpoint("drop-after-mark")
    own = settings_of(settings, store.registry.collections()[name])
    locks = _take_locks(own, clock() + wait_s, clock)
    try:
        delete_topics(own)
        failpoint("drop-after-topics")
        store.delete_logs(own.kafka_topic)
        store.distinct.forget_all(own.kafka_topic)
        store.watches.delete_all(own.kafka_topic)
        store.embedding_tables.drop_all(own.kafka_topic)
        failpoint("drop-after-rows")
        discard(own.index_dir)
        failpoint("drop-after-index")
    finally:
        for descriptor in locks:
            os.close(descriptor)
    store.registry.remove(name)
    # An indexer that had not read the registry yet may have made it again.
    discard(own.index_dir)


def unknown_collection_error(collections: Mapping[str, object], name: str) -> UnknownCollectionError:
    """What says that there is no collection `name`, and which there are."""
    known = ", ".join(
        sorted(
            {
                DEFAULT_COLLECTION,
                *(name for name, each in collections.items() if not getattr(each, "is_dropped", False)),
            }
        )
    )
    return UnknownCollectionError(
        f"There is no collection {name[:80]!r}, only: {known}. Create it: lookalike collections create NAME --encoder ENCODER"
    )


def _check(wanted: Collection, own: Settings) -> None:
    if not 1 <= wanted.partitions <= PARTITIONS_MAX:
        raise ConfigurationError(f"A topic cannot have {wanted.partitions} partitions: expected 1 to {PARTITIONS_MAX}.")
    load_encoder(wanted.encoder, own.encoders_dir)
    if len(own.rejected_topic) > _TOPIC_SIZE_MAX:
        raise ConfigurationError(
            f"{own.rejected_topic} has {len(own.rejected_topic)} characters, a topic's name has at most {_TOPIC_SIZE_MAX}. "
            "Choose a shorter name."
        )


def _is_unfinished(found: Collection, wanted: Collection, own: Settings) -> bool:
    """Whether the same was wanted before, and its topics were not made."""
    is_same = (found.encoder, found.partitions, found.engine) == (wanted.encoder, wanted.partitions, wanted.engine)
    return is_same and bool(missing_topics(own))


def _found(collections: dict[str, Collection], name: str) -> Collection:
    found = collections.get(name)
    if found is None or found.is_dropped:
        raise unknown_collection_error(collections, name)
    return found


def _take_locks(own: Settings, deadline_s: float, clock: Callable[[], float]) -> list[int]:
    """The locks of all indexes in the folder, so that nobody writes there any more; none where there is no folder."""
    taken: list[int] = []
    try:
        encoders = sorted(path for path in own.index_dir.glob("*") if path.is_dir())
        tables = [folder for folder in map(lease_folder, encoders) if folder.is_dir()]
        for folder in [*encoders, *tables]:
            while (descriptor := lock_index(folder)) is None:
                if clock() > deadline_s:
                    raise DependencyError(
                        "indexer", f"it has not let go of {folder}. End it, then drop the collection again."
                    )
                time.sleep(_POLL_S)
            taken.append(descriptor)
    except BaseException:
        for descriptor in taken:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        raise
    return taken
