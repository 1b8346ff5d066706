"""The bodies of answers to searches. What one search answers is not made of pydantic's models, which cost three times as much to make."""

from dataclasses import dataclass, fields

from pydantic import BaseModel, TypeAdapter

from api.answers.coverage import Coverage
from api.answers.matches import SearchMatch
from api.answers.problems import Problem
from api.answers.records import Degraded


@dataclass(slots=True)
class Timing:
    """Milliseconds that each stage took."""

    decode: float = 0.0
    encode: float = 0.0
    search: float = 0.0
    lookup: float = 0.0
    total: float = 0.0

    def rounded(self) -> "Timing":
        """The same to a microsecond."""
        return Timing(*(round(getattr(self, stage.name), 3) for stage in fields(self)))


@dataclass(slots=True)
class SearchAnswer:
    """The nearest images, nearest first, ties by id."""

    matches: list[SearchMatch]
    coverage: Coverage
    degraded: Degraded
    timing_ms: Timing


SEARCH_ANSWER = TypeAdapter(SearchAnswer)


class QueryAnswer(BaseModel):
    """One query's answer in a batch: `matches`, or the `problem` that it alone has; the other one is null."""

    matches: list[SearchMatch] | None
    problem: Problem | None


class BatchAnswer(BaseModel):
    """One answer for each query in their order, all from one generation; times are sums over the queries."""

    answers: list[QueryAnswer]
    coverage: Coverage
    degraded: Degraded
    timing_ms: Timing
