"""Rows of the feed as Cassandra gives them, and which of them this version can read."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from contract.errors import NewerVersionError
from contract.origin import UNKNOWN_ORIGIN, Origin
from contract.record_key import RecordKey
from gallery.store.rows import FeedRow

# Of a row: raised where an older program would misread it. Rows without one, of lookalike 0.2, are of version 1.
FEED_VERSION = 1


def feed_rows(start: RecordKey, found: Iterable[tuple[Any, ...]]) -> list[FeedRow]:
    """The rows of a partition up to the first that a newer version wrote; what is missing or damaged is left for its reader to see.

    Args:
        found: koffset, after, outcome, reason, image_id (these three as bytes), embedding, kafka_time, embedded_at, and as
            bytes metadata, request_id, traceparent; version.

    Raises:
        NewerVersionError: the first is of a newer version.
    """
    rows: list[FeedRow] = []
    for *values, version in found:
        key = start._replace(offset=values[0])
        if (version or 1) > FEED_VERSION:
            if rows:
                break
            place = f"record {key.partition}:{key.offset} of {key.log}"
            raise NewerVersionError("cassandra", f"the feed's row of {place}", version or 1, FEED_VERSION)
        rows.append(_feed_row(key, *values))
    return rows


def sound_after(after: int | None, offset: int) -> int:
    """Without a proof that nothing lies before the row, only the row itself is known."""
    return after if after is not None and 0 <= after <= offset else offset


def _feed_row(
    key: RecordKey,
    offset: int,
    after: int | None,
    outcome: bytes | None,
    reason: bytes | None,
    image_id: bytes | None,
    embedding: bytes | None,
    time_ms: int | None,
    embedded_at_ms: int | None,
    metadata: bytes | None,
    request_id: bytes | None,
    traceparent: bytes | None,
) -> FeedRow:
    return FeedRow(
        key,
        sound_after(after, offset),
        _text(outcome),  # type: ignore[arg-type]
        _text(reason),
        _text(image_id),
        _native(embedding),
        -1 if time_ms is None else time_ms,
        embedded_at_ms or 0,
        None if metadata is None else _text(metadata),
        Origin(_text(request_id), _text(traceparent)) if request_id or traceparent else UNKNOWN_ORIGIN,
    )


def _text(blob: bytes | None) -> str:
    """A stored text; what is not UTF-8 becomes lone surrogates, which no id, outcome or reason has."""
    return "" if blob is None else blob.decode("utf-8", "surrogateescape")


def _native(blob: bytes | None) -> bytes | None:
    """Little-endian float32; bytes that are no such numbers stay as they are."""
    return blob if blob is None or len(blob) % 4 else np.frombuffer(blob, ">f4").astype("<f4").tobytes()
