"""Which collections have an index in this folder: each has a file COLLECTION, so that an API can serve it while Cassandra is away."""

from pathlib import Path

import msgspec
import structlog

from contract.collections import (
    DEFAULT_COLLECTION,
    Collection,
    check_collection_name,
    collections_dir,
    default_collection,
)
from contract.errors import ConfigurationError
from contract.settings import Engine, Settings
from gallery.generations.files import make_folder, read_whole, seal, unseal, write_whole
from gallery.generations.manifest import CURRENT
from gallery.generations.serving import SERVING

COLLECTION = "COLLECTION"

logger = structlog.get_logger()


class _Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """As it stands in the file; what has its default is left out, so that earlier versions read the exact engine's."""

    name: str
    encoder: str
    partitions: int
    created_at_ms: int
    engine: Engine = "exact"


def write_collection(settings: Settings, collection: Collection) -> None:
    """Note the collection beside its indexes, unless that is noted already. `settings` are those of the process.

    Indexes of another one of this name, that was dropped on another machine, are read no more. `default` has a file once its
    engine is not what the settings say.
    """
    path = _path(settings, collection.name)
    noted = _read(path, collection.name)
    if noted == collection and noted.engine == collection.engine:
        return
    if collection.name == DEFAULT_COLLECTION and noted is None and collection.engine == settings.engine:
        return
    if is_of_another(settings, collection):
        folder = _path(settings, collection.name).parent
        for left in (folder / SERVING, *folder.glob(f"*/{CURRENT}")):
            left.unlink(missing_ok=True)
        logger.info("indexes of a dropped collection left", collection=collection.name)
    content = _Content(
        collection.name, collection.encoder, collection.partitions, collection.created_at_ms, collection.engine
    )
    make_folder(path.parent)
    write_whole(path, seal(msgspec.json.encode(content)))


def is_of_another(settings: Settings, collection: Collection) -> bool:
    """Whether the folder has indexes of a collection of this name that was created at another time."""
    noted = None if collection.name == DEFAULT_COLLECTION else _read(_path(settings, collection.name), collection.name)
    return noted is not None and noted.created_at_ms != collection.created_at_ms


def read_collections(settings: Settings) -> dict[str, Collection]:
    """The collections of which there are indexes here, by name; files that cannot be read are left out."""
    found = (_read(path, path.parent.name) for path in sorted(collections_dir(settings).glob(f"*/{COLLECTION}")))
    return {collection.name: collection for collection in found if collection is not None}


def read_default(settings: Settings) -> Collection:
    """The collection `default`, with the engine that its file says, if it has one."""
    noted = _read(_path(settings, DEFAULT_COLLECTION), DEFAULT_COLLECTION)
    return default_collection(settings, {} if noted is None else {DEFAULT_COLLECTION: noted})


def _path(settings: Settings, name: str) -> Path:
    folder = settings.index_dir if name == DEFAULT_COLLECTION else collections_dir(settings) / name
    return folder / COLLECTION


def _read(path: Path, name: str) -> Collection | None:
    """What the file says; None without one, or where it does not say what belongs into this folder."""
    try:
        said = msgspec.json.decode(unseal(read_whole(path))[0], type=_Content)
        if check_collection_name(said.name) != name:
            raise ValueError(f"it is of {said.name}, in the folder of another collection")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError, msgspec.DecodeError, ConfigurationError) as error:
        logger.warning("collection's file not read", path=str(path), detail=str(error))
        return None
    return Collection(
        name=said.name,
        encoder=said.encoder,
        partitions=said.partitions,
        created_at_ms=said.created_at_ms,
        engine=said.engine,
    )
