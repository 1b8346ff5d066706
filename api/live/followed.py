"""Spans that say when this process could find an image that is followed: the end of its trace."""

import asyncio
import time
from functools import partial

from api.answers.stored_records import StoredRecords
from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.store.rows import FeedRow
from gallery.table.snapshot import AnySnapshot
from runtime.tracing import TRACING, record_attributes, span_of, within

# Of one partition and swap; of more records than that, the others' traces end with the indexer.
_ROWS_MAX = 1000


class FollowedArrivals:
    """Listens to swaps. While traces are on, it reads from the feed where each new record comes from."""

    def __init__(self, records: StoredRecords, collection: str) -> None:
        self._records = records
        self._collection = collection
        self._telling: set[asyncio.Task[None]] = set()

    def on_swap(self, before: AnySnapshot | None, now: AnySnapshot) -> None:
        """Tell of what `now` covers beyond `before`; what was there at the start is old."""
        if TRACING.recorder is None or before is None:
            return
        telling = asyncio.create_task(self._tell(before, now, time.time_ns()))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self, before: AnySnapshot, now: AnySnapshot, end_ns: int) -> None:
        manifest = now.manifest
        known = before.manifest.offsets if before.manifest.log == manifest.log else {}
        for partition, end in manifest.offsets.items():
            start = known.get(partition, 0)
            if start >= end:
                continue
            key = RecordKey(manifest.log, int(partition), start)
            try:
                rows = await self._records.feed_rows(key, min(end - start, _ROWS_MAX), manifest.encoder)
            except DependencyError:
                return  # The trace lacks its end; images are found all the same.
            tell = partial(self._tell_of, generation=manifest.generation, begin_ns=manifest.published_at_ms * 1_000_000)
            for row in rows:
                if row.key.offset < end and row.outcome in ("put", "delete"):
                    tell(row, manifest.encoder, end_ns=end_ns)

    def _tell_of(self, row: FeedRow, fingerprint: str, *, generation: int, begin_ns: int, end_ns: int) -> None:
        if TRACING.follows(row.origin, row.kafka_time_ms):
            span = TRACING.begin(
                "serve image",
                parent=within(row.origin.traceparent, span_of("index", row.key, fingerprint)),
                begin_ns=min(begin_ns, end_ns),
                attributes=record_attributes(row.key, row.image_id, self._collection)
                | {"lookalike.generation": generation},
            )
            assert span is not None
            span.end(end_ns=end_ns)
