"""Spans of the records of one batch, where they are followed: one of each record, with the steps of its batch within."""

from collections.abc import Mapping, Sequence

from contract.record_key import RecordKey
from runtime.tracing import TRACING, record_attributes, span_of
from workers.embedder.outcomes import Judged

# What a span is called, with the first and the last stage of it.
_STEPS = {"decode and embed": ("judge", "judge"), "store": ("originals", "records"), "write feed": ("feed", "feed")}


def follow_embedded(
    judged: Sequence[Judged],
    times_ns: Mapping[str, tuple[int, int]],
    *,
    collection: str,
    log: str,
    fingerprint: str,
) -> None:
    """Tell of those records that are followed.

    Args:
        times_ns: when each stage of their batch began and ended, nanoseconds since 1970.
    """
    if TRACING.recorder is None:
        return
    for found in judged:
        record = found.record
        if not TRACING.follows(found.origin, record.kafka_time_ms):
            continue
        key = RecordKey(log, record.partition, record.offset)
        about = record_attributes(key, found.image_id, collection)
        about |= {"lookalike.outcome": found.outcome, "messaging.batch.message_count": len(judged)}
        span = TRACING.begin(
            "embed image",
            parent=found.origin.traceparent,
            kind="consumer",
            begin_ns=times_ns["judge"][0],
            span_id=span_of("embed", key, fingerprint),
            attributes=about,
        )
        assert span is not None
        for name, (first, last) in _STEPS.items():
            step = TRACING.begin(
                name,
                parent=span.traceparent,
                begin_ns=times_ns[first][0],
                span_id=span_of(name, key, fingerprint),
            )
            assert step is not None
            step.end(end_ns=times_ns[last][1])
        span.end(failure=found.reason, end_ns=times_ns["feed"][1])
