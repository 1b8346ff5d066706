"""The order in which matches are shown, and how much larger than the query one is; which ones they are, distance alone decides."""

import math
from collections.abc import Mapping
from typing import Literal

from api.answers.matches import SearchMatch
from api.answers.problems import ProblemError
from gallery.store.rows import ImageRecord
from model.verdicts.frames import Shown

Sort = Literal["best", "biggest", "newest", "oldest", "most_changed"]
# Copies come first, since only of them it is known what was changed.
_RANKS: Mapping[str | None, int] = {"altered copy": 0, "same pixels": 1, "same bytes": 2, "similar": 3, None: 4}


def check_sort(sort: Sort, *, is_explained: bool) -> None:
    """Refuse an order that needs explanations without them.

    Raises:
        ProblemError: 400 ``sort-needs-explain``.
    """
    if sort == "most_changed" and not is_explained:
        raise ProblemError(
            400, "sort-needs-explain", "sort=most_changed orders by what was changed: ask with explain=true as well."
        )


def ordered(matches: list[SearchMatch], sort: Sort) -> list[SearchMatch]:
    """Matches (nearest first, ties by id) in another order; what is equal in it stays nearest first."""
    if sort == "biggest":
        return sorted(matches, key=lambda match: -(match.width or 0) * (match.height or 0))
    if sort == "newest":
        return sorted(matches, key=lambda match: -match.source.timestamp)
    if sort == "oldest":
        return sorted(matches, key=lambda match: match.source.timestamp)
    if sort == "most_changed":
        return sorted(matches, key=_sameness)
    return matches


def larger_by(record: ImageRecord | None, shown: Shown | None) -> float | None:
    """By which factor the match's sides are longer than the query's, on average; None if it has no more pixels."""
    if record is None or shown is None or not shown.width * shown.height:
        return None
    pixels = record.width * record.height / (shown.width * shown.height)
    return round(math.sqrt(pixels), 3) if pixels > 1 else None


def _sameness(match: SearchMatch) -> tuple[int, int, float]:
    is_copy = match.verdict == "altered copy"
    return _RANKS[match.verdict], -len(match.edits or []), -(match.residual or 0.0) if is_copy else 0.0
