"""What a question found, and what an answer says of it."""

import time
from collections.abc import Mapping
from typing import NamedTuple

from api.answers.as_of import Past
from api.answers.explanations import Explanation
from api.answers.matches import SearchMatch
from api.answers.ordering import larger_by
from api.answers.queries import Query
from api.answers.records import image_url, metadata_object, source_of
from api.answers.search import Timing
from contract.record_key import RecordKey
from gallery.generations.snapshot import Match
from gallery.store.rows import ImageRecord


class FoundMatches(NamedTuple):
    """What a question found.

    Attributes:
        hypotheses: what of the query found each match, by its id; empty if the query was searched as it is.
        candidates: how many of about the nearest images were looked at; None where the answer is exact.
        is_cut_short: the filter left fewer of them than were wanted.
    """

    query: Query
    matches: list[Match]
    search_ms: float
    hypotheses: Mapping[str, str] = {}
    candidates: int | None = None
    is_cut_short: bool = False


def matches_of(
    collection: str,
    found: FoundMatches,
    records: dict[RecordKey, ImageRecord],
    explained: dict[RecordKey, Explanation],
    past: Past | None,
) -> list[SearchMatch]:
    """What an answer says of each match.

    Args:
        records: what is known of their records.
        explained: what verdicts say, of those that have one.
        past: the earlier time that it is an answer of, None for now.
    """
    return [
        _match(
            collection,
            match,
            records.get(match.source),
            found.query,
            explained.get(match.source),
            found.hypotheses.get(match.image_id),
            past.asked if past else "",
        )
        for match in found.matches
    ]


def _match(
    collection: str,
    match: Match,
    record: ImageRecord | None,
    query: Query,
    told: Explanation | None,
    hypothesis: str | None,
    as_of: str,
) -> SearchMatch:
    return SearchMatch(
        id=match.image_id,
        distance=match.distance,
        metadata=metadata_object(record),
        width=record.width if record else None,
        height=record.height if record else None,
        media_type=record.media_type if record else None,
        same_bytes=record.bytes_sha256 == query.bytes_sha256 if record and query.bytes_sha256 else None,
        same_pixels=record.pixels_sha256 == query.pixels_sha256 if record and query.pixels_sha256 else None,
        truncated=record.is_truncated if record else None,
        thumbnail_url=image_url(collection, match.image_id, match.source, "thumbnail", as_of),
        source=source_of(match.source, match.kafka_time_ms),
        larger=larger_by(record, query.shown),
        hypothesis=hypothesis,
        verdict=told.verdict if told else None,
        edits=told.edits if told else None,
        alignment=told.alignment if told else None,
        residual=told.residual if told else None,
        confidence=told.confidence if told else None,
        outline=told.outline if told else None,
    )


def timing_of(found: list[FoundMatches], began_s: float, lookup_ms: float) -> Timing:
    """What each stage took for all of them; they were worked on side by side, so the total may be less than the sum."""
    queries, total_ms = [each.query for each in found], (time.perf_counter() - began_s) * 1000
    decode_ms, encode_ms = sum(query.decode_ms for query in queries), sum(query.encode_ms for query in queries)
    return Timing(decode_ms, encode_ms, sum(each.search_ms for each in found), lookup_ms, total_ms).rounded()
