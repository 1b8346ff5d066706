"""`effort`: how many candidates an approximate engine looks at; and `thorough`: hypotheses about a query, searched and merged."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from api.answers.bounded_work import BoundedWork
from api.answers.problems import ProblemError
from api.answers.queries import Query
from gallery.generations.selection import Selection
from gallery.generations.snapshot import Match, Snapshot
from model.pictures.hypotheses import WHOLE, search_together

Effort = Literal["normal", "high", "thorough"]


async def search_hypotheses(
    query: Query,
    snapshot: Snapshot,
    k: int,
    max_distance: float | None,
    searches: BoundedWork,
    selection: Selection | None = None,
) -> tuple[list[Match], dict[str, str], float]:
    """The k nearest by distance and margin, the hypothesis that found each by its id, and the seconds that it took.

    The distance of a match is that of its hypothesis, without the margin.

    Raises:
        ProblemError: 503 ``busy``.
    """

    def search_all(asked: NDArray[np.float32]) -> list[list[Match]]:
        return snapshot.search_all(asked, k, max_distance, selection)

    (matches, hypotheses), took_s = await searches.run(
        lambda: merged_hypotheses(query, search_all, k, max_distance), is_long=True
    )
    return matches, hypotheses, took_s


def merged_hypotheses(
    query: Query, search_all: Callable[[NDArray[np.float32]], list[list[Match]]], k: int, max_distance: float | None
) -> tuple[list[Match], dict[str, str]]:
    """The k nearest by distance and margin, and the hypothesis that found each by its id.

    Args:
        search_all: the k nearest of each of some embeddings (b, d).
    """
    known: dict[str, Match] = {}

    def search_each(asked: NDArray[np.float32]) -> Iterator[list[tuple[float, str]]]:
        for answer in search_all(asked):
            known.update((match.image_id, match) for match in answer)
            yield [(match.distance, match.image_id) for match in answer]

    found = search_together({WHOLE: query.embedding, **query.hypotheses}, search_each, k, max_distance)
    matches = [replace(known[image_id], distance=distance) for image_id, distance, _ in found]
    return matches, {image_id: name for image_id, _, name in found}


def effort_needs_image() -> ProblemError:
    """400: there are no pixels of which hypotheses could be made."""
    return ProblemError(
        400,
        "effort-needs-image",
        "effort=thorough turns, mirrors and cuts the query: search with an image, not with an image_id or an embedding.",
    )
