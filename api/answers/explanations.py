"""Verdicts: what each match is to a query, and what was done to it; worked out in a child process of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from api.answers.bounded_work import BoundedWork
from api.answers.matches import EditAnswer, OutlineAnswer, Verdict
from api.answers.problems import ProblemError
from api.answers.queries import Query
from contract.errors import DependencyError
from contract.record_key import RecordKey
from gallery.generations.snapshot import Match
from gallery.store.rows import ImageRecord
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Explained, Kind, Shown

# One answer of 10 digits takes some 20 ms, of 10 photographs some 200.
EXPLANATIONS_WAITING_MAX = 32

logger = structlog.get_logger()
_UNMOVED = np.eye(3).tolist()


@dataclass(frozen=True)
class Explanation:
    """What `api.answers.matches.SearchMatch` says of a match when `explain` is asked for."""

    verdict: Verdict
    edits: list[EditAnswer] | None
    alignment: list[list[float]] | None
    residual: float
    confidence: float
    outline: OutlineAnswer | None = None


class Explanations:
    """Owns the explainer child, which starts with the first question. Used on the event loop only."""

    def __init__(self) -> None:
        self._explainer = Explainer()
        self._work = BoundedWork(1, EXPLANATIONS_WAITING_MAX)

    async def explain(
        self,
        query: Query,
        matches: Sequence[Match],
        records: Mapping[RecordKey, ImageRecord],
        kind: Kind,
        hypotheses: Mapping[str, str],
    ) -> dict[RecordKey, Explanation]:
        """What each match is to the query; matches whose pixels cannot be read are left out.

        Args:
            kind: of the pictures that the encoder knows which found them.
            hypotheses: what of the query found each match, by its id; empty if the query was searched as it is.

        Raises:
            ProblemError: 503 ``busy``.
        """
        found_by = {match.source: hypotheses.get(match.image_id, "") for match in matches}
        known = {match.source: records[match.source] for match in matches if match.source in records}
        if query.shown is None:
            return {}
        told = {key: same for key, record in known.items() if (same := _same(query, record))}
        asked = {key: record for key, record in known.items() if key not in told}
        if not asked:
            return told
        shown = query.shown
        stored = [Shown(record.thumbnail, record.width, record.height) for record in asked.values()]
        ways = [found_by[key] for key in asked] if hypotheses else []
        try:
            explained, _ = await self._work.run(lambda: self._explainer.explanations(shown, stored, kind, ways))
        except DependencyError as error:
            logger.warning("no verdicts", detail=error.detail)
            return told
        return told | {
            key: _explanation(each) for key, each in zip(asked, explained or [], strict=False) if each.verdict
        }

    def close(self) -> None:
        """End the child. Blocks."""
        self._explainer.close()


def explain_needs_image() -> ProblemError:
    """400: an embedding has no pixels that could be compared."""
    return ProblemError(
        400, "explain-needs-image", "An embedding alone cannot be explained: search with an image or an image_id."
    )


def _same(query: Query, record: ImageRecord) -> Explanation | None:
    if record.bytes_sha256 == query.bytes_sha256:
        return Explanation("same bytes", None, _UNMOVED, 0.0, 1.0, _whole_outline(record))
    if record.pixels_sha256 == query.pixels_sha256:
        return Explanation("same pixels", None, _UNMOVED, 0.0, 1.0, _whole_outline(record))
    return None


def _explanation(told: Explained) -> Explanation:
    """The child's answer; pictures that are equal only at working size are copies to which nothing visible was done."""
    is_similar = told.verdict == "similar"
    edits = [EditAnswer(name=name, amount=round(amount, 4), unit=unit) for name, amount, unit in told.edits]  # type: ignore[arg-type]
    return Explanation(
        "similar" if is_similar else "altered copy",
        None if is_similar else edits,
        [[round(number, 6) for number in row] for row in told.alignment] or None,
        round(told.residual, 4),
        round(told.confidence, 3),
        _outline(*told.outline),
    )


def _whole_outline(record: ImageRecord) -> OutlineAnswer:
    right, bottom = record.width - 0.5, record.height - 0.5
    corners = [[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]]
    return OutlineAnswer(query=corners, match=corners)


def _outline(query: list[list[float]], match: list[list[float]]) -> OutlineAnswer | None:
    if not query:
        return None
    in_query, in_match = ([[round(x, 2), round(y, 2)] for x, y in corners] for corners in (query, match))
    return OutlineAnswer(query=in_query, match=in_match)
