"""Spans of the records of which watches were told, where they are followed."""

import time
from collections import Counter
from collections.abc import Sequence

from gallery.store.rows import FeedRow
from runtime.tracing import TRACING, record_attributes, span_of, within


def follow_told(rows: Sequence[FeedRow], fingerprint: str, *, collection: str, began_ns: int) -> None:
    """Tell of those records that are followed; each belongs to the span of its embedder.

    Args:
        rows: that matched, each as often as watches were told of it.
        began_ns: when they were compared with the watches, nanoseconds since 1970.
    """
    if TRACING.recorder is None:
        return
    end_ns = time.time_ns()
    told = {row.key: row for row in rows if TRACING.follows(row.origin, row.kafka_time_ms)}
    for key, count in Counter(row.key for row in rows if row.key in told).items():
        row = told[key]
        span = TRACING.begin(
            "tell watches",
            parent=within(row.origin.traceparent, span_of("embed", key, fingerprint)),
            kind="producer",
            begin_ns=began_ns,
            attributes=record_attributes(key, row.image_id, collection) | {"lookalike.matches": count},
        )
        assert span is not None
        span.end(end_ns=end_ns)
