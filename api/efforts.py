"""`effort=thorough`: all hypotheses about a query searched as one batch over one snapshot, and merged."""

from api.gate import Gate
from api.problems import ProblemError
from api.queries import Query
from gallery.snapshot import Match, Snapshot
from model.pictures.hypotheses import WHOLE, margins, merge


async def search_hypotheses(
    query: Query, snapshot: Snapshot, k: int, max_distance: float | None, gate: Gate
) -> tuple[list[Match], dict[str, str], float]:
    """The k nearest by distance and margin, the hypothesis that found each by its id, and the seconds that it took.

    The distance of a match is that of its hypothesis, without the margin.

    Raises:
        ProblemError: 503 ``busy``.
    """

    def search() -> tuple[list[Match], dict[str, str]]:
        embeddings = {WHOLE: query.embedding, **query.hypotheses}
        answers = {name: snapshot.search(each, k, max_distance) for name, each in embeddings.items()}
        found = {name: [(match.distance, match.image_id) for match in answer] for name, answer in answers.items()}
        merged = merge(found, margins(query.embedding), k, max_distance)
        matches = {(name, match.image_id): match for name, answer in answers.items() for match in answer}
        return [matches[name, image_id] for image_id, _, name in merged], {each: name for each, _, name in merged}

    (matches, hypotheses), took_s = await gate.run(search, is_long=True)
    return matches, hypotheses, took_s


def effort_needs_image() -> ProblemError:
    """400: there are no pixels of which hypotheses could be made."""
    return ProblemError(
        400,
        "effort-needs-image",
        "effort=thorough turns, mirrors and cuts the query: search with an image, not with an image_id or an embedding.",
    )
