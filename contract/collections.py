"""Collections: galleries side by side, each with a name, an encoder, and a topic, a feed and an index of its own.

Whatever differs between two collections follows from settings: those of a collection are the settings of the process with
another topic, encoder and index folder. The one named `default` is the settings as they are.
"""

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from contract.errors import ConfigurationError
from contract.settings import Engine, Settings

DEFAULT_COLLECTION = "default"
COLLECTION_PATTERN = r"[a-z][a-z0-9-]{0,62}"
# Topics that others have, of rejected messages and of matches; and what `--collections` takes for every name.
RESERVED_COLLECTIONS = ("rejected", "matches", "all")
# No encoder's name begins with an underscore, so the indexes of `default` never meet these.
_FOLDER = "_collections"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A gallery with a name.

    Attributes:
        encoder: a folder's name in model/encoders/, or of an imported one.
        partitions: of its topic when it is created.
        created_at_ms: milliseconds since 1970; tells one that was dropped from one that was created again.
        is_dropped: it is being dropped: nobody serves it any more, and what belongs to it goes.
        engine: what answers: the exact index in memory, or Cassandra's vector index. A collection whose engine is changed is the
            same collection.
        beside: the engine whose index grows beside that one, so that it can take its place; None as a rule.
    """

    name: str
    encoder: str
    partitions: int
    created_at_ms: int = 0
    is_dropped: bool = False
    engine: Engine = field(default="exact", compare=False)
    beside: Engine | None = field(default=None, compare=False)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Of which an index is kept, the one that answers first."""
        return (self.engine,) if self.beside in (None, self.engine) else (self.engine, self.beside)


def check_collection_name(name: str) -> str:
    """Return `name` unchanged if a collection may be called so.

    Raises:
        ConfigurationError: it may not.
    """
    if not re.fullmatch(COLLECTION_PATTERN, name):
        raise ConfigurationError(
            f"A collection cannot be named {name[:80]!r}: expected a small letter, then up to 62 small letters, digits and "
            "hyphens, such as holiday-2026."
        )
    if name in RESERVED_COLLECTIONS:
        raise ConfigurationError(f"A collection cannot be named {name}: that name has another meaning. Choose another.")
    return name


def chosen_collections(text: str) -> tuple[str, ...]:
    """The names in ``a,b``; none where it is ``all``.

    Raises:
        ConfigurationError: one of them cannot be a collection's name.
    """
    return () if text == "all" else tuple(map(check_collection_name, text.split(",")))


def default_collection(settings: Settings, registered: Mapping[str, Collection] | None = None) -> Collection:
    """The collection that the settings themselves describe; of its row, once it has one, the engines count alone."""
    described = Collection(
        name=DEFAULT_COLLECTION,
        encoder=settings.encoder,
        partitions=settings.kafka_partitions,
        engine=settings.engine,
    )
    row = (registered or {}).get(DEFAULT_COLLECTION)
    return described if row is None else replace(described, engine=row.engine, beside=row.beside)


def served_collections(
    settings: Settings, registered: Mapping[str, Collection], names: Container[str] = ()
) -> dict[str, Collection]:
    """`default`, and what of the registry is not being dropped, by name.

    Args:
        names: only these, as `chosen_collections` tells them; all where there are none.
    """
    there = {name: found for name, found in registered.items() if not found.is_dropped}
    there = {DEFAULT_COLLECTION: default_collection(settings, registered)} | {
        name: found for name, found in there.items() if name != DEFAULT_COLLECTION
    }
    return {name: found for name, found in there.items() if not names or name in names}


def settings_of(settings: Settings, collection: Collection) -> Settings:
    """The settings of a collection, from those of the process."""
    if collection.name == DEFAULT_COLLECTION:
        return (
            settings
            if collection.engine == settings.engine
            else settings.model_copy(update={"engine": collection.engine})
        )
    return settings.model_copy(
        update={
            "kafka_topic": f"{settings.kafka_topic}.{collection.name}",
            "kafka_partitions": collection.partitions,
            "encoder": collection.encoder,
            "next_encoder": "",
            "engine": collection.engine,
            "index_dir": collections_dir(settings) / collection.name,
        }
    )


def publishing_settings(settings: Settings, name: str) -> Settings:
    """The settings of the collection of this name, as far as one who publishes needs them: its topic.

    Raises:
        ConfigurationError: no collection can be named so.
    """
    return settings_of(
        settings,
        Collection(name=check_collection_name(name), encoder=settings.encoder, partitions=settings.kafka_partitions),
    )


def collections_dir(settings: Settings) -> Path:
    """The folder that holds a folder of indexes for each collection but `default`."""
    return settings.index_dir / _FOLDER
