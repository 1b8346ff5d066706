"""From a question to its answer: the query that it makes, the nearest images of one generation, and what is known of them."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from api.answers.as_of import AskedAsOf, Past, as_of_not_kept, past_of
from api.answers.bounded_work import BoundedWork
from api.answers.coverage import Coverage, coverage_of
from api.answers.efforts import search_hypotheses
from api.answers.explanations import Explanation, Explanations
from api.answers.fields import needs_records
from api.answers.finding import find_image
from api.answers.found import FoundMatches, matches_of, timing_of
from api.answers.images import unknown_image
from api.answers.ordering import ordered
from api.answers.problems import ProblemError, rejected_problem
from api.answers.queries import Query
from api.answers.questions import ById, Question, Wanted, asked_together
from api.answers.search import BatchAnswer, QueryAnswer, SearchAnswer
from api.answers.search_times import EXPLAIN_SECONDS, observe
from api.answers.served_generation import ServedGeneration
from api.answers.stored_records import StoredRecords
from contract.errors import RejectedError
from contract.record_key import RecordKey
from gallery.generations.selection import Selection
from gallery.generations.snapshot import Snapshot
from gallery.table.snapshot import AnySnapshot
from model.verdicts.frames import Shown

# So many of a batch's images are decoded at once, and so many of its queries searched together: others come in between.
BATCH_CONCURRENCY, BATCH_TOGETHER = 16, 64


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
        timing = timing_of([found], began_s, lookup_ms)
        observe(timing, began_s)
        return SearchAnswer(
            matches=ordered(matches_of(served.collection, found, records, explained, past), wanted.sort),
            coverage=_coverage(served, past, selection, wanted, [found]),
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
                QueryAnswer(matches=matches_of(served.collection, each, records, {}, past), problem=None)
                if isinstance(each, FoundMatches)
                else QueryAnswer(matches=None, problem=each.body())
                for each in answered
            ],
            coverage=_coverage(served, past, selection, wanted, found),
            degraded=_degraded(served, is_complete=is_complete),
            timing_ms=timing_of(found, began_s, lookup_ms),
        )

    async def past(self, snapshot: AnySnapshot, asked: AskedAsOf | None) -> Past | None:
        """What ids meant at the time that is asked for, None for now.

        Raises:
            ProblemError: 400 ``as-of-not-kept``, 410 ``as-of-gone``, 503 ``busy``.
        """
        if asked is None:
            return None
        if not isinstance(snapshot, Snapshot):
            raise as_of_not_kept()
        exact = snapshot
        if exact.knows(asked.as_of):
            return past_of(exact, asked)
        past, _ = await self._searches.run(lambda: past_of(exact, asked), is_long=True)
        return past

    async def _selection(self, snapshot: AnySnapshot, past: Past | None, wanted: Wanted) -> Selection | None:
        """What may be found; None for all that ids mean now, or where only Cassandra can tell.

        Raises:
            ProblemError: 503 ``busy``.
        """
        selection, condition = past.selection if past else None, wanted.filter
        if condition is None or not isinstance(snapshot, Snapshot):
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
    ) -> FoundMatches:
        snapshot, k, max_distance = _exact(served.snapshot), wanted.offset + wanted.k, wanted.max_distance
        if isinstance(question, bytes) and wanted.effort == "thorough":
            query = await served.queries.encode_thoroughly(question)
            matches, hypotheses, took_s = await search_hypotheses(
                query, snapshot, k, max_distance, self._searches, selection
            )
            return FoundMatches(query, matches[wanted.offset :], took_s * 1000, hypotheses)
        query = await self._query(question, served, past)
        matches, took_s = await self._searches.run(lambda: snapshot.search(query.embedding, k, max_distance, selection))
        return FoundMatches(query, matches[wanted.offset :], took_s * 1000)

    async def _find_all(
        self, queries: Sequence[Query], snapshot: AnySnapshot, wanted: Wanted, selection: Selection | None
    ) -> list[FoundMatches]:
        """What each of many queries found, in their order."""
        found = []
        for start in range(0, len(queries), BATCH_TOGETHER):
            part = queries[start : start + BATCH_TOGETHER]
            embeddings = np.stack([query.embedding for query in part])
            search = partial(_exact(snapshot).search_all, embeddings, wanted.k, wanted.max_distance, selection)
            answers, took_s = await self._searches.run(search, is_long=True)
            found += [
                FoundMatches(query, matches, took_s * 1000 / len(part))
                for query, matches in zip(part, answers, strict=True)
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

    async def _query_of(self, image_id: str, snapshot: AnySnapshot, past: Past | None) -> Query:
        """The query that an image of the gallery makes; its hashes come from its record where that is known."""
        found = await find_image(snapshot, image_id, past)
        if found is None:
            raise unknown_image(image_id, past=past)
        records, _ = await self._records.records([found.source])
        query = Query(found.embedding)
        if (record := records.get(found.source)) is not None:
            shown = Shown(record.thumbnail, record.width, record.height)
            query = replace(query, bytes_sha256=record.bytes_sha256, pixels_sha256=record.pixels_sha256, shown=shown)
        return query


def _coverage(
    served: ServedGeneration,
    past: Past | None,
    selection: Selection | None,
    wanted: Wanted,
    found: Sequence[FoundMatches],
) -> Coverage:
    return coverage_of(
        served.snapshot.manifest,
        served.ends,
        past,
        matched=selection.count if selection is not None and wanted.filter is not None else None,
        candidates=max((each.candidates for each in found if each.candidates is not None), default=None),
        fewer_by_filter=any(each.is_cut_short for each in found),
    )


def _exact(snapshot: AnySnapshot) -> Snapshot:
    assert isinstance(snapshot, Snapshot)
    return snapshot


def _degraded(served: ServedGeneration, *, is_complete: bool) -> list[str]:
    return [*([] if is_complete else ["metadata"]), *served.stalled_parts]
