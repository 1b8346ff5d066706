"""What the API answers, as frozen values. Fields that a newer API adds are ignored here; `raw` has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from lookalike_client.problems import ApiError, problem_error

Sort = Literal["best", "biggest", "newest", "oldest", "most_changed"]
Effort = Literal["normal", "high", "thorough"]
# The hypothesis that says nothing: the query as it is.
WHOLE = "whole"

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Edit:
    """One thing that was done to a match to get the query; the API's documentation says what `amount` is of each name."""

    name: str
    amount: float
    unit: str


@dataclass(frozen=True)
class Outline:
    """What a query and a match both show: corners (x, y) in the pixels of either picture, the same in both."""

    query: list[list[float]]
    match: list[list[float]]


@dataclass(frozen=True)
class Neighbour:
    """One match. Fields other than id and distance are None while the store is away or where `fields` left them out; from
    `verdict` on also unless a search asked with `explain`, `hypothesis` unless it asked with `effort="thorough"`. `larger` is by how much its sides are longer than the query's, if it has more pixels."""

    id: str
    distance: float
    metadata: dict[str, Any] | None = None
    width: int | None = None
    height: int | None = None
    media_type: str | None = None
    same_bytes: bool | None = None
    same_pixels: bool | None = None
    truncated: bool | None = None
    larger: float | None = None
    hypothesis: str | None = None
    verdict: str | None = None
    edits: list[Edit] | None = None
    alignment: list[list[float]] | None = None
    residual: float | None = None
    confidence: float | None = None
    outline: Outline | None = None


@dataclass(frozen=True)
class Covered:
    """What an answer covers: all records of `log` below `offsets`, and nothing else.

    Attributes:
        offsets: by partition, the offset behind the last record that is covered.
        end_offsets: by partition, where Kafka's partitions end; None when unknown.
        count: images that were searched.
        encoder: the fingerprint of the encoder that answered.
        digest: of the files that were searched.
        content_digest: of the images in them: the same in whatever folder, at equal offsets. None for an earlier time.
        set_aside: records below `offsets` whose stored row cannot be used.
        as_of: the earlier time that was asked for, None for now.
        exact: the nearest were found, and nothing else was looked at; False of the engine cassandra, which finds nearly all.
        matched: images that the filter holds for; None without a filter, and where that is not known.
        candidates: how many of about the nearest images were looked at; None of an exact answer.
        fewer_by_filter: the filter left fewer of them than were asked for, and others may be farther away.
    """

    index_id: str
    generation: int
    log: str
    offsets: dict[str, int]
    end_offsets: dict[str, int] | None
    count: int
    exact: bool
    encoder: str
    digest: str
    set_aside: int
    as_of: str | None = None
    matched: int | None = None
    content_digest: str | None = None
    candidates: int | None = None
    fewer_by_filter: bool = False

    @property
    def min_offsets(self) -> str:
        """A later search with these `min_offsets` covers at least as much; "" before anything is covered."""
        return ",".join(f"{partition}:{offset}" for partition, offset in self.offsets.items())


@dataclass(frozen=True)
class Answer:
    """What a search found, nearest first unless sorted otherwise, and what it covers; `raw` is the whole body."""

    matches: list[Neighbour]
    coverage: Covered
    degraded: list[str]
    timing_ms: dict[str, float]
    raw: dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """What a batch found: for each query, in order, its matches, or the problem that it alone has."""

    answers: list[list[Neighbour] | ApiError]
    coverage: Covered
    degraded: list[str]
    timing_ms: dict[str, float]
    raw: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """What Kafka confirmed; a search with `min_offsets` sees it."""

    id: str
    log: str
    partition: int
    offset: int
    min_offsets: str


def answer_of(raw: dict[str, Any]) -> Answer:
    """The answer to one search.

    Raises:
        KeyError, TypeError: it is not the API's.
    """
    matches = [_neighbour(match) for match in raw["matches"]]
    return Answer(matches, _known(Covered, raw["coverage"]), raw["degraded"], raw["timing_ms"], raw)


def answers_of(raw: dict[str, Any]) -> Answers:
    """The answers to a batch.

    Raises:
        KeyError, TypeError: they are not the API's.
    """
    answers: list[list[Neighbour] | ApiError] = [
        problem_error(each["problem"]) if each["problem"] else [_neighbour(match) for match in each["matches"]]
        for each in raw["answers"]
    ]
    return Answers(answers, _known(Covered, raw["coverage"]), raw["degraded"], raw["timing_ms"], raw)


def written_of(raw: dict[str, Any]) -> Written:
    """What Kafka confirmed.

    Raises:
        TypeError: it is not the API's.
    """
    return _known(Written, raw)


def _neighbour(match: Mapping[str, Any]) -> Neighbour:
    known = {**match}
    if known.get("edits") is not None:
        known["edits"] = [_known(Edit, edit) for edit in known["edits"]]
    if known.get("outline") is not None:
        known["outline"] = _known(Outline, known["outline"])
    return _known(Neighbour, known)


def _known(kind: type[_Value], raw: Mapping[str, Any]) -> _Value:
    """A value of `kind` from those fields that it knows."""
    return kind(**{field.name: raw[field.name] for field in fields(kind) if field.name in raw})  # type: ignore[arg-type]
