"""Look at the gallery: `python -m gallery stats`, `verify` and `watch`; `promote` and `rollback` change which encoder answers."""

import argparse
import json
import sys
import time

import msgspec

from contract.errors import LookalikeError
from contract.settings import Settings, load_settings
from gallery.generations.reader import Reader
from gallery.generations.serving import ServingFile, old_layout
from gallery.generations.snapshot import Snapshot
from gallery.promote import IndexComparison, promote, rollback
from gallery.store.store import Store
from gallery.verify import verify
from gallery.watch import watch

_EXAMPLE = """example:
  python -m gallery verify --encoder contrast
  python -m gallery promote contrast
"""
DIFFERENCES_SHOWN = 20


def main() -> int:
    """Run one verb and return the exit status: 0 fine, 1 differences or failure, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m gallery",
        description="Look at the index, and change which encoder's index answers.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    stats_parser = verbs.add_parser("stats", help="what the current generation holds and covers")
    stats_parser.add_argument("--json", action="store_true", help="print the whole manifest as JSON")
    verify_parser = verbs.add_parser("verify", help="read the feed again and compare it with the current generation")
    for looking in (stats_parser, verify_parser):
        looking.add_argument("--encoder", help="the index of this encoder (default: the one that answers)")
    watch_parser = verbs.add_parser("watch", help="the figures of a running API, live, until Ctrl-C")
    watch_parser.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")
    watch_parser.add_argument("--interval-s", type=float, default=1.0, help="seconds between two looks (default 1)")
    watch_parser.add_argument("--looks", type=int, help="end after so many looks; status 1 when the last one failed")
    promote_parser = verbs.add_parser(
        "promote", help="have another encoder's index answer, once it covers as much and holds the same images"
    )
    promote_parser.add_argument("encoder", help="a folder's name in model/encoders/ and in the index folder")
    rollback_parser = verbs.add_parser("rollback", help="have the encoder answer again that did before")
    for changing in (promote_parser, rollback_parser):
        changing.add_argument(
            "--wait-s", type=float, default=60.0, help="how long it may take to catch up (default 60)"
        )
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        if arguments.verb == "watch":
            return watch(arguments.url or settings.api_address, arguments.interval_s, arguments.looks)
        if arguments.verb in ("promote", "rollback"):
            return _change(settings, arguments)
        snapshot = _current(settings, arguments.encoder)
        if arguments.verb == "stats":
            return _stats(snapshot, as_json=arguments.json)
        return _verify(snapshot, settings)
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing was changed.", file=sys.stderr)
        return 130


def _current(settings: Settings, encoder: str | None) -> Snapshot:
    name = encoder or ServingFile(settings.index_dir, settings.encoder).current().encoder
    reader = Reader(settings.index_dir / name, fingerprint=None)
    snapshot = reader.current()
    if snapshot is None:
        raise LookalikeError(
            reader.refused
            or f"There is no index in {settings.index_dir / name}. Start one: `make up`, or `python -m workers indexer`. "
            + old_layout(settings.index_dir)
        )
    return snapshot


def _change(settings: Settings, arguments: argparse.Namespace) -> int:
    store = Store.connect(settings)
    compared: IndexComparison | None
    try:
        if arguments.verb == "rollback":
            name, compared = rollback(settings.index_dir, store.feed, default=settings.encoder, wait_s=arguments.wait_s)
        else:
            name = arguments.encoder
            compared = promote(
                settings.index_dir, store.feed, to=name, default=settings.encoder, wait_s=arguments.wait_s
            )
    finally:
        store.close()
    if compared is None:
        print(f"{name} answers already.")
        return 0
    for difference in compared.differences[:DIFFERENCES_SHOWN]:
        print(difference)
    if compared.differences:
        print(
            f"The indexes differ in {len(compared.differences)} places. Nothing was changed; see `python -m gallery verify`."
        )
        return 1
    print(
        f"{name} answers from now on: the same {compared.images:,} images, compared at equal coverage (with "
        f"{compared.records_between:,} records that came meanwhile). A running API changes over by itself once its own "
        f"look agrees, within a second as a rule; `indexes` in GET /v1/index says so. Back: python -m gallery rollback"
    )
    return 0


def _stats(snapshot: Snapshot, *, as_json: bool) -> int:
    manifest = snapshot.manifest
    if as_json:
        print(json.dumps(msgspec.to_builtins(manifest), indent=2))
        return 0
    age_s = time.time() - manifest.published_at_ms / 1000
    print(f"index       {manifest.index_id}, generation {manifest.generation}, published {age_s:.1f} s ago")
    print(f"images      {manifest.count:,}")
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


def _verify(snapshot: Snapshot, settings: Settings) -> int:
    store = Store.connect(settings)
    try:
        result = verify(snapshot, store.feed)
    finally:
        store.close()
    for difference in result.differences[:DIFFERENCES_SHOWN]:
        print(difference)
    for found in result.set_aside[:DIFFERENCES_SHOWN]:
        print(found)
    if len(result.set_aside) > DIFFERENCES_SHOWN:
        print(f"{len(result.set_aside)} rows are set aside in all.")
    if result.differences:
        print(
            f"Generation {snapshot.manifest.generation} differs from its feed in {len(result.differences)} places. "
            "Rebuild it: stop the indexer and run `python -m workers indexer --rebuild`."
        )
        return 1
    print(
        f"Generation {snapshot.manifest.generation} holds exactly what its coverage says: {result.images:,} images from "
        f"{result.rows_read:,} feed rows."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
