"""Look at the gallery: `python -m gallery stats`, `verify` and `watch`."""

import argparse
import json
import sys
import time

import msgspec

from contract.errors import LookalikeError
from contract.settings import Settings, load_settings
from gallery.reader import Reader
from gallery.snapshot import Snapshot
from gallery.store import Store
from gallery.verify import verify
from gallery.watch import watch


def main() -> int:
    """Run one verb and return the exit status: 0 fine, 1 differences or failure, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m gallery", description="Look at the index.", epilog="Example: python -m gallery verify"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    stats_parser = verbs.add_parser("stats", help="what the current generation holds and covers")
    stats_parser.add_argument("--json", action="store_true", help="print the whole manifest as JSON")
    verbs.add_parser("verify", help="read the feed again and compare it with the current generation")
    watch_parser = verbs.add_parser("watch", help="the figures of a running API, live, until Ctrl-C")
    watch_parser.add_argument("--url", help="the API's address (default: from LOOKALIKE_API_HOST and _PORT)")
    watch_parser.add_argument("--interval-s", type=float, default=1.0, help="seconds between two looks (default 1)")
    watch_parser.add_argument("--looks", type=int, help="end after so many looks; status 1 when the last one failed")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        if arguments.verb == "watch":
            return watch(arguments.url or _address(settings), arguments.interval_s, arguments.looks)
        snapshot = _current(settings)
        if arguments.verb == "stats":
            return _stats(snapshot, as_json=arguments.json)
        return _verify(snapshot, settings)
    except LookalikeError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing was changed.", file=sys.stderr)
        return 130


def _address(settings: Settings) -> str:
    host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::") else settings.api_host
    return f"http://{host}:{settings.api_port}"


def _current(settings: Settings) -> Snapshot:
    reader = Reader(settings.index_dir, encoder=None)
    snapshot = reader.current()
    if snapshot is None:
        raise LookalikeError(
            reader.refused
            or f"There is no index in {settings.index_dir}. Start one: `make up`, or `python -m workers indexer`."
        )
    return snapshot


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
    print(f"expired     {manifest.expired:,} offsets that Kafka dropped before they were embedded")
    for coverage in manifest.logs:
        offsets = " ".join(f"{p}:{c.next_offset}" for p, c in coverage.partitions.items())
        print(f"covers      {coverage.log} up to {offsets}")
    return 0


def _verify(snapshot: Snapshot, settings: Settings) -> int:
    store = Store.connect(settings)
    try:
        result = verify(snapshot, store)
    finally:
        store.close()
    for difference in result.differences[:20]:
        print(difference)
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
