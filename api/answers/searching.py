"""From a question to its answer: the query that it makes, the nearest images of one generation, and what is known of them."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from api.answers.as_of import AskedAsOf, Past, past_of
from api.answers.bounded_work import BoundedWork
from api.answers.coverage import coverage_of
from api.answers.efforts import search_hypotheses
from api.answers.explanations import Explanation, Explanations
from api.answers.fields import needs_records
from api.answers.images import unknown_image
from api.answers.matches import SearchMatch
from api.answers.ordering import larger_by, ordered
from api.answers.problems import ProblemError, rejected_problem
from api.answers.queries import Query
from api.answers.questions import ById, Question, Wanted, asked_together
from api.answers.records import image_url, metadata_object, source_of
from api.answers.search import BatchAnswer, QueryAnswer, SearchAnswer, Timing
from api.answers.search_times import EXPLAIN_SECONDS, observe
from api.answers.served_generation import ServedGeneration
from api.answers.stored_records import StoredRecords
from contract.errors import RejectedError
from contract.record_key import RecordKey
from gallery.generations.selection import Selection
from gallery.generations.snapshot import Match, Snapshot
from gallery.store.rows import ImageRecord
from model.verdicts.frames import Shown

# So many of a batch's images are decoded at once, and so many of its queries searched together: others come in between.
BATCH_CONCURRENCY, BATCH_TOGETHER = 16, 64


class _Found(NamedTuple):
    """What a question found.

    Attributes:
        hypotheses: what of the query found each match, by its id; empty if the query was searched as it is.
    """

    query: Query
    matches: list[Match]
    search_ms: float
    hypotheses: Mapping[str, str] = {}


class Searcher:
    """Answers questions. Used on the event loop only.

    Args:
        searches: in which the index is searched.
    """

    def __init__(self, *, records: StoredRecords, explanations: Explanations, searches: BoundedWork) -> None:
        self._records = records
        self._explanations = explanations
        self._searches = searches

    async def answer(
        self, question: Question, served: ServedGeneration, wanted: Wanted, *, began_s: float
    ) -> SearchAnswer:
        """The answer to one question.

        Args:
            began_s: when its request came, by `time.perf_counter`.

        Raises:
            RejectedError: its image would not be indexed either.
            DependencyError: no decoder child can be started.
            ProblemError: 400 ``bad-embedding``, 404 ``unknown-image``, 409 ``other-encoder``, 410 ``as-of-gone``, 503 ``busy``.
        """
        past = await self.past(served.snapshot, wanted.as_of)
        selection = await self._selection(served.snapshot, past, wanted)
        found = await self._find(question, served, wanted, past, selection)
        lookup_s = time.perf_counter()
        sources = [match.source for match in found.matches] if needs_records(wanted) else []
        records, is_complete = await self._records.records(sources)
        lookup_ms = (time.perf_counter() - lookup_s) * 1000
        explained: dict[RecordKey, Explanation] = {}
        degraded = _degraded(served, is_complete=is_complete)
        if wanted.explain:
            with EXPLAIN_SECONDS.time():
                explained = await self._explanations.explain(
                    found.query, found.matches, records, served.queries.kind, found.hypotheses
                )
            if len(explained) < len(found.matches):
                degraded.append("verdict")
        timing = _timing([found], began_s, lookup_ms)
        observe(timing, began_s)
        return SearchAnswer(
            matches=ordered(_matches(served.collection, found, records, explained, past), wanted.sort),
            coverage=coverage_of(served.snapshot.manifest, served.ends, past, matched=_matched(selection, wanted)),
            degraded=degraded,
            timing_ms=timing,
        )

    async def answer_all(
        self, questions: Sequence[Question], served: ServedGeneration, wanted: Wanted, *, began_s: float
    ) -> BatchAnswer:
        """The answers to many questions, in their order; those that cannot be answered have a problem instead.

        Args: as of `answer`.

        Raises:
            DependencyError: no decoder child can be started.
            ProblemError: 400 ``bad-embedding``, 410 ``as-of-gone``, 503 ``busy``.
        """
        past = await self.past(served.snapshot, wanted.as_of)
        selection = await self._selection(served.snapshot, past, wanted)
        asked: list[Query | ProblemError] = []
        for part in asked_together(questions, BATCH_CONCURRENCY):
            asked += await asyncio.gather(*(self._query_or_problem(each, served, past) for each in part))
        queries = [each for each in asked if isinstance(each, Query)]
        found = await self._find_all(queries, served.snapshot, wanted, selection)
        each_found = iter(found)
        answered = [next(each_found) if isinstance(each, Query) else each for each in asked]
        lookup_s = time.perf_counter()
        sources = {match.source for each in found for match in each.matches}
        records, is_complete = await self._records.records(list(sources))
        lookup_ms = (time.perf_counter() - lookup_s) * 1000
        return BatchAnswer(
            answers=[
                QueryAnswer(matches=_matches(served.collection, each, records, {}, past), problem=None)
                if isinstance(each, _Found)
                else QueryAnswer(matches=None, problem=each.body())
                for each in answered
            ],
            coverage=coverage_of(served.snapshot.manifest, served.ends, past, matched=_matched(selection, wanted)),
            degraded=_degraded(served, is_complete=is_complete),
            timing_ms=_timing(found, began_s, lookup_ms),
        )

    async def past(self, snapshot: Snapshot, asked: AskedAsOf | None) -> Past | None:
        """What ids meant at the time that is asked for, None for now.

        Raises:
            ProblemError: 410 ``as-of-gone``, 503 ``busy``.
        """
        if asked is None or snapshot.knows(asked.as_of):
            return past_of(snapshot, asked) if asked else None
        past, _ = await self._searches.run(lambda: past_of(snapshot, asked), is_long=True)
        return past

    async def _selection(self, snapshot: Snapshot, past: Past | None, wanted: Wanted) -> Selection | None:
        """What may be found; None for all that ids mean now.

        Raises:
            ProblemError: 503 ``busy``.
        """
        selection, condition = past.selection if past else None, wanted.filter
        if condition is None:
            return selection
        filtered, _ = await self._searches.run(lambda: snapshot.filtered(condition, selection))
        return filtered

    async def _find(
        self,
        question: Question,
        served: ServedGeneration,
        wanted: Wanted,
        past: Past | None,
        selection: Selection | None,
    ) -> _Found:
        snapshot, k, max_distance = served.snapshot, wanted.offset + wanted.k, wanted.max_distance
        if isinstance(question, bytes) and wanted.effort == "thorough":
            query = await served.queries.encode_thoroughly(question)
            matches, hypotheses, took_s = await search_hypotheses(
                query, snapshot, k, max_distance, self._searches, selection
            )
            return _Found(query, matches[wanted.offset :], took_s * 1000, hypotheses)
        query = await self._query(question, served, past)
        matches, took_s = await self._searches.run(lambda: snapshot.search(query.embedding, k, max_distance, selection))
        return _Found(query, matches[wanted.offset :], took_s * 1000)

    async def _find_all(
        self, queries: Sequence[Query], snapshot: Snapshot, wanted: Wanted, selection: Selection | None
    ) -> list[_Found]:
        """What each of many queries found, in their order."""
        found = []
        for start in range(0, len(queries), BATCH_TOGETHER):
            part = queries[start : start + BATCH_TOGETHER]
            embeddings = np.stack([query.embedding for query in part])
            search = partial(snapshot.search_all, embeddings, wanted.k, wanted.max_distance, selection)
            answers, took_s = await self._searches.run(search, is_long=True)
            found += [
                _Found(query, matches, took_s * 1000 / len(part)) for query, matches in zip(part, answers, strict=True)
            ]
        return found

    async def _query(self, question: Question, served: ServedGeneration, past: Past | None) -> Query:
        if isinstance(question, bytes):
            return await served.queries.encode(question)
        if isinstance(question, ById):
            return await self._query_of(question.image_id, served.snapshot, past)
        question.check_encoder(served.snapshot.manifest.encoder, served.snapshot.dimensions)
        return Query(np.array(question.embedding, np.float32))

    async def _query_or_problem(
        self, question: Question, served: ServedGeneration, past: Past | None
    ) -> Query | ProblemError:
        """The query that a question makes, or why this question alone cannot be answered."""
        try:
            return await self._query(question, served, past)
        except RejectedError as error:
            return rejected_problem(error)
        except ProblemError as error:
            if error.status >= 429 or error.code == "bad-embedding":  # not this question's fault, or no question at all
                raise
            return error

    async def _query_of(self, image_id: str, snapshot: Snapshot, past: Past | None) -> Query:
        """The query that an image of the gallery makes; its hashes come from its record where that is known."""
        found = snapshot.find(image_id, past.selection if past else None)
        if found is None:
            raise unknown_image(image_id, past=past)
        records, _ = await self._records.records([found.source])
        query = Query(found.embedding)
        if (record := records.get(found.source)) is not None:
            shown = Shown(record.thumbnail, record.width, record.height)
            query = replace(query, bytes_sha256=record.bytes_sha256, pixels_sha256=record.pixels_sha256, shown=shown)
        return query


def _matched(selection: Selection | None, wanted: Wanted) -> int | None:
    return selection.count if selection is not None and wanted.filter is not None else None


def _degraded(served: ServedGeneration, *, is_complete: bool) -> list[str]:
    return [*([] if is_complete else ["metadata"]), *served.stalled_parts]


def _matches(
    collection: str,
    found: _Found,
    records: dict[RecordKey, ImageRecord],
    explained: dict[RecordKey, Explanation],
    past: Past | None,
) -> list[SearchMatch]:
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


def _timing(found: list[_Found], began_s: float, lookup_ms: float) -> Timing:
    """What each stage took for all of them; they were worked on side by side, so the total may be less than the sum."""
    queries, total_ms = [each.query for each in found], (time.perf_counter() - began_s) * 1000
    decode_ms, encode_ms = sum(query.decode_ms for query in queries), sum(query.encode_ms for query in queries)
    return Timing(decode_ms, encode_ms, sum(each.search_ms for each in found), lookup_ms, total_ms).rounded()
