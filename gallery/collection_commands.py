"""`collections create`, `list`, `show` and `drop`: what they print."""

import argparse
import json
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from contract.errors import LookalikeError
from runtime.command_line import Verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contract.collections import Collection
    from contract.settings import Settings
    from gallery.generations.manifest import Manifest
    from gallery.store.store import Store

_LIST_ROW = "{name:<24} {encoder:<18} {engine:<9} {images:>12} {generation:>11}  {topic}"


def _add_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("name", help="a small letter, then up to 62 small letters, digits and hyphens")
    create.add_argument("--encoder", required=True, help="photo, contrast, or another one of this installation")
    create.add_argument("--partitions", type=int, help="of its topic (default: LOOKALIKE_KAFKA_PARTITIONS)")
    create.add_argument(
        "--engine",
        choices=("exact", "cassandra"),  # contract.settings.Engine, which would be long to load
        default="exact",
        help="what answers: exact, an index in memory, or cassandra, its vector index, for what memory cannot hold (default: exact)",
    )
    _add_json(create)


def _add_show(show: argparse.ArgumentParser) -> None:
    show.add_argument("name", help="a collection's name")
    _add_json(show)


def _add_drop(drop: argparse.ArgumentParser) -> None:
    drop.add_argument("name", help="a collection's name")
    drop.add_argument("--yes", action="store_true", help="do not ask for the name again")
    _add_json(drop)


def _add_json(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _create(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.collections import create_collection
    from gallery.store.store import Store

    with closing(Store.connect(settings)) as store:
        made = create_collection(
            settings,
            store.registry,
            name=arguments.name,
            encoder=arguments.encoder,
            partitions=arguments.partitions,
            engine=arguments.engine,
        )
    told = told_of_collection(settings, made)
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        print(
            f"{made.name} is there: encoder {made.encoder}, engine {made.engine}, topic {told['topic']} with {made.partitions} partitions. Running "
            "embedders and indexers take it up within ten seconds."
        )
    return 0


def _list(settings: "Settings", arguments: argparse.Namespace) -> int:
    told = _told_of_all(settings)
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        print_collections(told)
    return 0


def print_collections(told: "Sequence[dict[str, Any]]") -> None:
    """A table of what `told_of_collection` tells."""
    print(
        _LIST_ROW.format(
            name="NAME", encoder="ENCODER", engine="ENGINE", images="IMAGES", generation="GENERATION", topic="TOPIC"
        )
    )
    for each in told:
        images = "dropping" if each["dropping"] else "-" if each["count"] is None else f"{each['count']:,}"
        print(_LIST_ROW.format(**{**each, "images": images, "generation": each["generation"] or "-"}))


def _show(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.collections import unknown_collection_error

    known = {each["name"]: each for each in _told_of_all(settings)}
    if arguments.name not in known:
        raise unknown_collection_error(known, arguments.name)
    told = known[arguments.name]
    if arguments.json:
        print(json.dumps(told, indent=2))
        return 0
    created = "always there" if told["created_at"] is None else _time(told["created_at"])
    print(f"name        {told['name']}{' (it is being dropped)' if told['dropping'] else ''}")
    print(f"encoder     {told['encoder']}")
    print(f"engine      {told['engine']}")
    print(f"topic       {told['topic']}, created with {told['partitions']} partitions")
    print(f"created     {created}")
    print(f"index       {told['index_dir']}")
    print(f"images      {'no generation yet' if told['count'] is None else format(told['count'], ',')}")
    return 0


def _drop(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.collections import drop_collection
    from gallery.store.store import Store

    if not arguments.yes:
        _confirm(arguments.name)
    with closing(Store.connect(settings)) as store:
        drop_collection(settings, store, arguments.name)
    if arguments.json:
        print(json.dumps({"name": arguments.name, "dropped": True}))
    else:
        print(f"{arguments.name} is gone: its topics, feed, records and index.")
    return 0


def _confirm(name: str) -> None:
    """Ask for the name again.

    Raises:
        LookalikeError: another one was typed, or nobody can be asked.
    """
    print(
        f"Everything of {name} goes for good: its topic, feed, records and index. Its name again: ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    typed = sys.stdin.readline().strip()
    if typed != name:
        raise LookalikeError(f"Nothing was dropped: {typed!r} is not {name!r}. Without a question: --yes")


def _told_of_all(settings: "Settings") -> list[dict[str, Any]]:
    """What is known of every collection, `default` too, in the order of their names."""
    from contract.collections import DEFAULT_COLLECTION, default_collection
    from gallery.store.store import Store

    with closing(Store.connect(settings)) as store:
        registered = store.registry.collections()
        found = registered | {DEFAULT_COLLECTION: default_collection(settings, registered)}
        return [told_of_collection(settings, found[name], store) for name in sorted(found)]


def told_of_collection(settings: "Settings", collection: "Collection", store: "Store | None" = None) -> dict[str, Any]:
    """What is known of a collection, from the registry and from its index on this machine.

    Args:
        store: tells of tables of embeddings; without it nothing is known of those.
    """
    from contract.collections import settings_of
    from contract.errors import IndexDamagedError
    from gallery.generations.serving import ServingFile, manifests
    from gallery.table.reader import covered_by_table

    own = settings_of(settings, collection)
    try:
        encoder = ServingFile(own.index_dir, own.encoder).current().encoder
    except IndexDamagedError:
        encoder = own.encoder
    manifest: Manifest | None
    if own.engine == "exact":
        manifest = manifests(own.index_dir).get(encoder)
    else:
        manifest = None if store is None else covered_by_table(store, own)
    return {
        "name": collection.name,
        "encoder": encoder,
        "engine": collection.engine,
        "partitions": collection.partitions,
        "topic": own.kafka_topic,
        "created_at": collection.created_at_ms or None,
        "dropping": collection.is_dropped,
        "index_dir": str(own.index_dir),
        "count": manifest.count if manifest else None,
        "generation": manifest.generation if manifest else None,
    }


def told_of_indexed(settings: "Settings") -> list[dict[str, Any]]:
    """What is known of `default`, and of the collections that have an index on this machine: also while nothing runs."""
    from gallery.generations.collection_file import read_collections, read_default

    known = [read_default(settings), *read_collections(settings).values()]
    return [told_of_collection(settings, each) for each in known]


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds")


COLLECTIONS = Verb(
    name="collections",
    summary="create, list, show and drop collections: galleries with a topic and an index of their own",
    epilog="Example: %(prog)s create holiday --encoder photo",
    verbs=(
        Verb(
            name="create",
            summary="create a collection and its topics",
            run=_create,
            add_arguments=_add_create,
            epilog="Example: %(prog)s holiday --encoder photo --partitions 8",
        ),
        Verb(
            name="list",
            summary="all collections, with what their indexes on this machine hold",
            run=_list,
            add_arguments=_add_json,
            epilog="Example: %(prog)s --json",
        ),
        Verb(
            name="show",
            summary="one collection",
            run=_show,
            add_arguments=_add_show,
            epilog="Example: %(prog)s holiday",
        ),
        Verb(
            name="drop",
            summary="delete a collection: topic, feed, records and index",
            run=_drop,
            add_arguments=_add_drop,
            epilog="Example: %(prog)s holiday --yes",
            interrupted="Interrupted; drop it again to go on.",
        ),
    ),
)
