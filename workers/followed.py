"""Spans of the records that one generation brought, where they are followed."""

import time
from collections.abc import Iterable

from gallery.generations.manifest import Manifest
from gallery.store.rows import FeedRow
from runtime.tracing import TRACING, record_attributes, span_of, within


def follow_indexed(rows: Iterable[FeedRow], manifest: Manifest, *, collection: str, began_ns: int) -> None:
    """Tell of those records that are followed; each belongs to the span of its embedder.

    Args:
        manifest: of the generation that brought them.
        began_ns: when the indexer began to read them, nanoseconds since 1970.
    """
    if TRACING.recorder is None:
        return
    end_ns, fingerprint = time.time_ns(), manifest.encoder
    for row in rows:
        if row.outcome not in ("put", "delete") or not TRACING.follows(row.origin, row.kafka_time_ms):
            continue
        span = TRACING.begin(
            "index image",
            parent=within(row.origin.traceparent, span_of("embed", row.key, fingerprint)),
            kind="consumer",
            begin_ns=began_ns,
            span_id=span_of("index", row.key, fingerprint),
            attributes=record_attributes(row.key, row.image_id, collection)
            | {"lookalike.generation": manifest.generation},
        )
        assert span is not None
        span.end(end_ns=end_ns)
