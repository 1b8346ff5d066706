"""`effort=thorough`: all hypotheses about a query searched as one batch over one snapshot, and merged."""

from collections.abc import Iterator
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

Effort = Literal["normal", "thorough"]


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

    embeddings = {WHOLE: query.embedding, **query.hypotheses}

    def search() -> tuple[list[Match], dict[str, str]]:
        known: dict[str, Match] = {}

        def search_each(asked: NDArray[np.float32]) -> Iterator[list[tuple[float, str]]]:
            for answer in snapshot.search_all(asked, k, max_distance, selection):
                known.update((match.image_id, match) for match in answer)
                yield [(match.distance, match.image_id) for match in answer]

        found = search_together(embeddings, search_each, k, max_distance)
        matches = [replace(known[image_id], distance=distance) for image_id, distance, _ in found]
        return matches, {image_id: name for image_id, _, name in found}

    (matches, hypotheses), took_s = await searches.run(search, is_long=True)
    return matches, hypotheses, took_s


def effort_needs_image() -> ProblemError:
    """400: there are no pixels of which hypotheses could be made."""
    return ProblemError(
        400,
        "effort-needs-image",
        "effort=thorough turns, mirrors and cuts the query: search with an image, not with an image_id or an embedding.",
    )
