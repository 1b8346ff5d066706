"""Where a match may stand in a query: by local features, seen mirrored and negative too, and by the guess that both show the same whole."""

from collections.abc import Iterator

import numpy as np

from model.verdicts.photographs import alignment, placing
from model.verdicts.photographs.alignment import Matrix
from model.verdicts.photographs.features import pairs, seen_as
from model.verdicts.photographs.view import View

# With so many pairs nothing else is tried; with fewer than PAIRS_SURE the whole pictures are compared too.
PAIRS_ENOUGH, PAIRS_SURE = 24, 12
LIKENESS_MIN = 0.92
# So close an alignment comes to the whole of both pictures, as a share of the side, that it is taken for that.
WHOLE_TOLERANCE = 0.012


def alignments(query: View, match: View, hypothesis: str) -> Iterator[tuple[Matrix, int]]:
    """Where the match may stand in the query, and how many pairs of features say so."""
    most = 0
    for found in dict.fromkeys((hypothesis, "")):
        described = query.features(found)
        best: alignment.Aligned | None = None
        for mirrored, negative in _seen(hypothesis):
            seen = seen_as(described.descriptors, mirrored=mirrored, negative=negative)
            fitted = alignment.fit_alignment(
                pairs(described, seen, match.features()), mirrored=mirrored, negative=negative
            )
            if fitted is not None and (best is None or fitted.pairs > best.pairs):
                best = fitted
            if best is not None and best.pairs >= PAIRS_ENOUGH:
                break
        if best is not None:
            most = max(most, best.pairs)
            yield _snapped(best, query, match), best.pairs
        if not hypothesis.startswith("part-"):
            break
    if most < PAIRS_SURE:
        for quarters, mirrored in _alike(query, match):
            yield alignment.whole(query.working_size, match.working_size, quarters, mirrored=mirrored), 0


def _seen(hypothesis: str) -> Iterator[tuple[bool, bool]]:
    """Whether the query is mirrored and negative, the likeliest first."""
    ways = [(False, False), (True, False), (False, True), (True, True)]
    first = {"mirrored": (True, False), "negative": (False, True)}.get(hypothesis, ways[0])
    yield first
    yield from (way for way in ways if way != first)


def _alike(query: View, match: View) -> list[tuple[int, bool]]:
    """Quarters, and whether mirrored, by which the whole query looks like the whole match; the likeliest one."""
    found = []
    for quarters in range(4):
        for mirrored in (False, True):
            seen = np.rot90(query.likeness, -quarters)
            seen = seen[:, ::-1] if mirrored else seen
            found.append((abs(float(np.vdot(seen, match.likeness))), quarters, mirrored))
    likeness, quarters, mirrored = max(found)
    return [(quarters, mirrored)] if likeness > LIKENESS_MIN else []


def _snapped(found: alignment.Aligned, query: View, match: View) -> Matrix:
    """The alignment, or that of the whole pictures where it comes close to it."""
    size, other = query.working_size, match.working_size
    at = alignment.moved(found.matrix, placing.corners(size))
    for quarters in range(4):
        whole = alignment.whole(size, other, quarters, mirrored=found.is_mirrored)
        if np.abs(at - alignment.moved(whole, placing.corners(size))).max() < WHOLE_TOLERANCE * max(other):
            return whole
    return found.matrix
