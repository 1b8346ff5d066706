"""From a question to its answer where Cassandra's vector index finds candidates: those are ranked exactly, and some answers measured."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from api.answers.as_of import Past
from api.answers.bounded_work import BoundedWork
from api.answers.efforts import Effort, merged_hypotheses
from api.answers.explanations import Explanations
from api.answers.found import FoundMatches
from api.answers.problems import ProblemError
from api.answers.queries import Query
from api.answers.questions import Question, Wanted
from api.answers.searching import Searcher
from api.answers.served_generation import ServedGeneration
from api.answers.stored_records import StoredRecords
from gallery.generations.selection import Selection
from gallery.generations.snapshot import Match
from gallery.store.embeddings import CANDIDATES_MAX
from gallery.table.recall import SampledSearch
from gallery.table.snapshot import AnySnapshot, TableNearest, TableSnapshot

# By effort, so many candidates at least, and so many for each match that is asked for. Of a search by hypotheses each has `normal` ones.
_CANDIDATES: dict[Effort, tuple[int, int]] = {"normal": (128, 2), "high": (512, 4), "thorough": (128, 2)}
ASKED_TOGETHER = 8


class TableSearcher(Searcher):
    """Answers questions to a collection whose engine is Cassandra. Used on the event loop only.

    Args:
        searches: in which Cassandra is asked.
        sample: takes searches of which some are measured.
    """

    def __init__(
        self,
        *,
        records: StoredRecords,
        explanations: Explanations,
        searches: BoundedWork,
        sample: Callable[[SampledSearch], None],
    ) -> None:
        super().__init__(records=records, explanations=explanations, searches=searches)
        self._sample = sample

    async def _find(
        self,
        question: Question,
        served: ServedGeneration,
        wanted: Wanted,
        past: Past | None,
        selection: Selection | None,
    ) -> FoundMatches:
        assert selection is None  # as of an earlier time nobody is answered
        snapshot, asking = _table(served.snapshot), _Asking(wanted)
        if isinstance(question, bytes) and wanted.effort == "thorough":
            query = await served.queries.encode_thoroughly(question)
            (matches, hypotheses), took_s = await self._searches.run(
                lambda: merged_hypotheses(
                    query,
                    lambda asked: [asking.nearest(snapshot, each).matches for each in asked],
                    asking.depth,
                    wanted.max_distance,
                ),
                is_long=True,
            )
            return FoundMatches(query, matches[wanted.offset :], took_s * 1000, hypotheses, asking.candidates)
        query = await self._query(question, served, past)
        found, took_s = await self._searches.run(lambda: asking.nearest(snapshot, query.embedding), is_long=True)
        if wanted.filter is None and wanted.max_distance is None:
            self._sample(SampledSearch(wanted.effort, query.embedding, asking.depth, found.matches, snapshot))
        return _found(query, found, took_s, wanted)

    async def _find_all(
        self, queries: Sequence[Query], snapshot: AnySnapshot, wanted: Wanted, selection: Selection | None
    ) -> list[FoundMatches]:
        assert selection is None
        table, asking, found = _table(snapshot), _Asking(wanted), []
        for start in range(0, len(queries), ASKED_TOGETHER):
            part = queries[start : start + ASKED_TOGETHER]

            def search(part: Sequence[Query] = part) -> list[TableNearest]:
                return [asking.nearest(table, query.embedding) for query in part]

            answers, took_s = await self._searches.run(search, is_long=True)
            found += [
                _found(query, answer, took_s / len(part), wanted) for query, answer in zip(part, answers, strict=True)
            ]
        return found


class _Asking:
    """How Cassandra is asked for what is wanted.

    Attributes:
        depth: how many matches are to be found.
        candidates: how many rows it is asked for.

    Raises:
        ProblemError: 400 ``too-many-matches``.
    """

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self.depth = wanted.offset + wanted.k
        if self.depth > CANDIDATES_MAX:
            raise ProblemError(
                400,
                "too-many-matches",
                f"k={wanted.k} from offset {wanted.offset} on is beyond what the engine cassandra finds: the nearest {CANDIDATES_MAX}.",
            )
        self.candidates = candidates_of(wanted.effort, self.depth)

    def nearest(self, snapshot: TableSnapshot, embedding: NDArray[np.float32]) -> TableNearest:
        """Ask; blocks."""
        return snapshot.nearest(
            embedding,
            self.depth,
            candidates=self.candidates,
            max_distance=self._wanted.max_distance,
            condition=self._wanted.filter,
        )


def candidates_of(effort: Effort, depth: int) -> int:
    """How many rows Cassandra is asked for, so that so many matches are found with this effort."""
    least, each = _CANDIDATES[effort]
    return min(CANDIDATES_MAX, max(least, each * depth))


def _table(snapshot: AnySnapshot) -> TableSnapshot:
    assert isinstance(snapshot, TableSnapshot)
    return snapshot


def _found(query: Query, found: TableNearest, took_s: float, wanted: Wanted) -> FoundMatches:
    matches: list[Match] = found.matches[wanted.offset :]
    return FoundMatches(query, matches, took_s * 1000, {}, found.candidates, found.is_cut_short)
