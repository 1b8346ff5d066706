"""The embedder exactly as `python -m workers embedder` runs it, on given cores, and if wanted with a store that keeps nothing.

What a store that keeps nothing leaves is what the worker itself costs; beside it one sees what writing costs.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable

from contract import telemetry
from contract.record_key import RecordKey
from contract.settings import load_settings
from gallery.store.feed import Feed
from gallery.store.records import Records
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.session import CassandraSession
from gallery.store.store import Store
from workers.embedder.program import run


class NoFeed(Feed):
    """Reads like the feed; its writes return at once."""

    def write(self, feed_rows: Iterable[FeedRow], *, fingerprint: str, over_all: bool = False) -> None:
        """Keep nothing."""


class NoRecords(Records):
    """Reads like the records; its writes return at once."""

    def write(self, records: Iterable[ImageRecord], *, time_ms: int | None = None) -> None:
        """Keep nothing."""

    def write_originals(self, originals: Iterable[tuple[RecordKey, bytes, int]]) -> None:
        """Keep nothing."""


class NoStore(Store):
    """Reads like the store; its writes return at once."""

    def __init__(self, session: CassandraSession, topic: str, clock: Callable[[], float]) -> None:
        super().__init__(session, topic, clock)
        self.records = NoRecords(session)
        self.feed = NoFeed(session, self.records, clock)


def main() -> int:
    """Embed until SIGTERM; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.worker", description=__doc__)
    parser.add_argument("--slot", type=int, default=0)
    parser.add_argument("--cores", type=int, nargs="+", help="only these; needs Linux")
    parser.add_argument("--no-store", action="store_true")
    options = parser.parse_args()
    if options.cores:
        os.sched_setaffinity(0, options.cores)  # threads and the decoder's child inherit it
    telemetry.configure_logging()
    return run(load_settings(), slot=options.slot, connect=(NoStore if options.no_store else Store).connect)


if __name__ == "__main__":
    sys.exit(main())
