"""Look at the gallery: `stats` and `watch`; `promote` and `rollback` change which encoder answers; `collections`."""

import argparse
import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING

from contract.errors import LookalikeError
from gallery.backup.command import BACKUP, RESTORE
from gallery.collection_commands import COLLECTIONS
from runtime.command_line import ASKED_WRONGLY, Program, Verb, run_program

if TYPE_CHECKING:
    from contract.settings import Settings
    from gallery.generations.manifest import Manifest
    from gallery.promote import IndexComparison

_EXAMPLE = """example:
  python -m gallery stats --encoder contrast
  python -m gallery promote contrast
"""
_INTERRUPTED = "Stopped; nothing was changed."
DIFFERENCES_SHOWN = 20
# Each with the other one. What contract.collections has takes longer to load than help may wait.
_OTHER_ENGINE = {"exact": "cassandra", "cassandra": "exact"}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit status: 0 fine, 1 differences or failure, 2 wrong usage."""
    program = Program(
        prog="python -m gallery",
        description="Look at the index, and change which encoder's index answers.",
        epilog=_EXAMPLE,
        verbs=VERBS,
        error_prefix="",
    )
    return run_program(program, arguments)


def _add_encoder(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--encoder", help="the index of this encoder (default: the one that answers)")
    _add_collection(verb)


def _add_collection(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--collection", default="default", metavar="NAME", help="the collection meant (default: default)")


def _indexed(settings: "Settings", arguments: argparse.Namespace) -> "Settings":
    """The settings of the collection that is meant; it must have an index on this machine."""
    from gallery.collections import indexed_settings

    return indexed_settings(settings, arguments.collection)


def _add_stats(stats: argparse.ArgumentParser) -> None:
    stats.add_argument("--json", action="store_true", help="print the whole manifest as JSON")
    _add_encoder(stats)


def _add_watch(watch: argparse.ArgumentParser) -> None:
    watch.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")
    watch.add_argument("--interval-s", type=float, default=1.0, help="seconds between two looks (default 1)")
    watch.add_argument("--looks", type=int, help="end after so many looks; status 1 when the last one failed")
    _add_collection(watch)
    watch.add_argument("--json", action="store_true", help="print the API's whole answer of each look as JSON")


def _add_promote(promote: argparse.ArgumentParser) -> None:
    promote.add_argument("encoder", nargs="?", help="a folder's name in model/encoders/ and in the index folder")
    promote.add_argument(
        "--engine", choices=tuple(_OTHER_ENGINE), help="have this engine answer, instead of another encoder"
    )
    promote.add_argument(
        "--alone",
        action="store_true",
        help="with --engine that answers already, on every API: delete the index of the other one, which grows beside it",
    )
    _add_changing(promote)


def _add_changing(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--wait-s", type=float, default=60.0, help="how long it may take to catch up (default 60)")
    _add_collection(verb)
    verb.add_argument("--json", action="store_true", help="print the outcome as JSON")


def _watch(settings: "Settings", arguments: argparse.Namespace) -> int:
    from lookalike_client.watch import watch

    address = arguments.url or settings.api_address
    return watch(
        address, arguments.interval_s, arguments.looks, collection=arguments.collection, as_json=arguments.json
    )


def _promote(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.promote import promote
    from gallery.store.store import Store

    if (arguments.encoder is None) == (arguments.engine is None) or (arguments.alone and not arguments.engine):
        print("Name an encoder, or an engine with --engine; --alone goes with --engine.", file=sys.stderr)
        return ASKED_WRONGLY
    if arguments.engine:
        return _promote_engine(settings, arguments)
    settings = _indexed(settings, arguments)
    if settings.engine != "exact":
        raise LookalikeError(
            "Another encoder is promoted with the engine exact alone. First have that answer: lookalike promote --engine exact"
        )
    with closing(Store.connect(settings)) as store:
        compared = promote(
            settings.index_dir,
            store.feed,
            to=arguments.encoder,
            default=settings.encoder,
            wait_s=arguments.wait_s,
        )
    return _tell_change(arguments.encoder, compared, "python -m gallery rollback", as_json=arguments.json)


def _promote_engine(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.change_engine import let_go_of_other_engine, promote_engine
    from gallery.store.store import Store

    name, engine = arguments.collection, arguments.engine
    with closing(Store.connect(settings)) as store:
        if arguments.alone:
            let_go_of_other_engine(settings, store, name, engine=engine)
            told = f"The index of {_OTHER_ENGINE[engine]} is let go of."
            print(json.dumps({"engine": engine, "alone": True}) if arguments.json else told)
            return 0
        compared = promote_engine(settings, store, name, to=engine, wait_s=arguments.wait_s)
    back = f"lookalike promote --engine {_OTHER_ENGINE[engine]} --collection {name}"
    return _tell_change(engine, compared, back, what="engine", as_json=arguments.json)


def _rollback(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.promote import rollback
    from gallery.store.store import Store

    settings = _indexed(settings, arguments)
    with closing(Store.connect(settings)) as store:
        name, compared = rollback(settings.index_dir, store.feed, default=settings.encoder, wait_s=arguments.wait_s)
    return _tell_change(name, compared, "python -m gallery rollback", as_json=arguments.json)


def _tell_change(
    name: str, compared: "IndexComparison | None", back: str, *, as_json: bool, what: str = "encoder"
) -> int:
    """Say what came of a change to the encoder or engine `name`, and the command that leads back; returns the exit status."""
    if as_json:
        print(json.dumps({what: name, "compared": None if compared is None else asdict(compared)}, indent=2))
        return 1 if compared and compared.differences else 0
    shown = "engine" if what == "engine" else "indexes"
    if compared is None:
        print(f"{name} answers already.")
        return 0
    for difference in compared.differences[:DIFFERENCES_SHOWN]:
        print(difference)
    if compared.differences:
        print(
            f"The indexes differ in {len(compared.differences)} places. Nothing was changed; see `python -m workers verify`."
        )
        return 1
    print(
        f"{name} answers from now on: the same {compared.images:,} images, compared at equal coverage (with "
        f"{compared.records_between:,} records that came meanwhile). A running API changes over by itself once its own "
        f"look agrees, within a second as a rule; `{shown}` in GET /v1/index says so. Back: {back}"
    )
    return 0


def _of_table(settings: "Settings") -> "Manifest":
    from gallery.store.store import Store
    from gallery.table.reader import covered_by_table

    with closing(Store.connect(settings)) as store:
        manifest = covered_by_table(store, settings)
    if manifest is None:
        raise LookalikeError("There is no table of embeddings yet. Start an indexer: lookalike indexer")
    return manifest


def _stats(settings: "Settings", arguments: argparse.Namespace) -> int:
    from gallery.newest import newest_generation

    own = _indexed(settings, arguments)
    manifest = newest_generation(own, arguments.encoder).manifest if own.engine == "exact" else _of_table(own)
    if arguments.json:
        import msgspec

        print(json.dumps(msgspec.to_builtins(manifest), indent=2))
        return 0
    age_s = time.time() - manifest.published_at_ms / 1000
    print(f"index       {manifest.index_id}, generation {manifest.generation}, published {age_s:.1f} s ago")
    print(f"images      {manifest.count:,}, content digest {manifest.content_digest}")
    if own.engine == "exact":
        print(f"base        {manifest.base.count:,} images in {manifest.base.name or '(none yet)'}")
        print(f"tail        {manifest.tail.entries:,} entries, {manifest.tail.size_bytes:,} bytes")
    print(f"encoder     {manifest.encoder}")
    print(f"rejected    {sum(manifest.rejected.values()):,} {manifest.rejected or ''}")
    print(f"set aside   {sum(manifest.set_aside.values()):,} {manifest.set_aside or ''}")
    print(f"expired     {manifest.expired:,} offsets that Kafka dropped before they were embedded")
    for coverage in manifest.logs:
        offsets = " ".join(f"{p}:{c.next_offset}" for p, c in coverage.partitions.items())
        print(f"covers      {coverage.log} up to {offsets}")
    return 0


VERBS = (
    COLLECTIONS,
    BACKUP,
    RESTORE,
    Verb(
        name="stats",
        summary="what the current generation holds and covers",
        run=_stats,
        add_arguments=_add_stats,
        epilog="Example: %(prog)s --json",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="watch",
        summary="the figures of a running API, live, until Ctrl-C",
        run=_watch,
        add_arguments=_add_watch,
        epilog="Example: %(prog)s --interval-s 5",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="promote",
        summary="have another encoder's or engine's index answer, once it covers as much and holds the same images",
        run=_promote,
        add_arguments=_add_promote,
        epilog="Example: %(prog)s contrast",
        interrupted=_INTERRUPTED,
    ),
    Verb(
        name="rollback",
        summary="have the encoder answer again that did before",
        run=_rollback,
        add_arguments=_add_changing,
        epilog="Example: %(prog)s --wait-s 300",
        interrupted=_INTERRUPTED,
    ),
)

if __name__ == "__main__":
    sys.exit(main())
