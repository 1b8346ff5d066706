"""What was done to one photograph to get another, or that one is no copy of the other.

Local features say where the match stands in the query; then the pixels decide. Of a copy they agree in every window that shows anything,
but for where something was laid over it; of the next frame of a film what moved does not.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from model.verdicts.child import Explained
from model.verdicts.photographs import alignment, comparison, overlays, placing, quality, surroundings, tones
from model.verdicts.photographs.alignment import Matrix
from model.verdicts.photographs.comparison import Agreement, Frame, Pixels
from model.verdicts.photographs.features import pairs, seen_as
from model.verdicts.photographs.placing import Edit, Placing
from model.verdicts.photographs.view import View

# With so many pairs nothing else is tried; with fewer than PAIRS_SURE the whole pictures are compared too.
PAIRS_ENOUGH, PAIRS_SURE = 24, 12
LIKENESS_MIN = 0.8
# So close an alignment comes to the whole of both pictures, as a share of the side, that it is taken for that.
WHOLE_TOLERANCE = 0.012
# Windows that agree, as a share of those that show something: from so many on the query is a copy.
SHARE_COPY = 0.95
SHARE_SLOPE = 60.0
# A picture with less in it, or with little that is fine in common, proves nothing.
TEXTURED_MIN, DETAIL_MIN, DETAIL_GUESSED_MIN = 0.02, 0.12, 0.4
# Where something is laid over it, edges are the query's: so large a share of them, in the windows that do not agree.
OVERLAY_EDGES, OVERLAY_SHARE_MIN, OVERLAY_AREA_MIN = 0.72, 0.4, 0.002
# Around the match its surroundings are looked at, by so much of its own size.
MARGIN_SHARE, MARGIN_PX_MIN = 0.15, 8
BLUR_PX_MIN, NOISE_MIN = 0.75, 0.018


class _Told(NamedTuple):
    """One alignment, and what the pixels say of it; `matrix` is of the working sizes."""

    matrix: Matrix
    placed: Placing
    laid: Frame
    tone: tones.Tone
    agreed: Agreement
    around: surroundings.Surroundings
    overlaid: float
    confidence: float


def explain(query: View, match: View, hypothesis: str = "") -> Explained:
    """Explain a query as an altered copy of a match, which was found by the hypothesis, if there is one."""
    best: _Told | None = None
    for matrix, count in _alignments(query, match, hypothesis):
        told = _looked_at(query, match, matrix, count)
        if told is not None and (best is None or told.confidence > best.confidence):
            best = told
        if best is not None and best.confidence > 0.9:
            break
    if best is None:
        return Explained("similar", [], [], 1.0, 0.0)
    residual = (
        min(best.agreed.residual, 1.0) if best.confidence >= 0.5 else max(best.agreed.residual, 1 - best.agreed.share)
    )
    if best.confidence < 0.5:
        return Explained("similar", [], [], min(residual, 1.0), best.confidence)
    whole = match.to_whole @ best.matrix @ np.linalg.inv(query.to_whole)
    outline = (best.placed.query_outline.tolist(), best.placed.match_outline.tolist())
    edits = _edits(query, match, best)
    return Explained("altered copy", edits, (whole / whole[2, 2]).tolist(), residual, best.confidence, outline)


def _alignments(query: View, match: View, hypothesis: str) -> Iterator[tuple[Matrix, int]]:
    """Where the match may stand in the query, and how many pairs of features say so."""
    most = 0
    for found in dict.fromkeys((hypothesis, "")):
        described = query.features_of(found) if found else query.features
        best: alignment.Aligned | None = None
        for mirrored, negative in _seen(hypothesis):
            seen = seen_as(described.descriptors, mirrored=mirrored, negative=negative)
            fitted = alignment.fit(pairs(described, seen, match.features), mirrored=mirrored, negative=negative)
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
            yield alignment.whole(_size(query), _size(match), quarters, mirrored=mirrored), 0


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
    size, other = _size(query), _size(match)
    at = alignment.moved(found.matrix, placing.corners(size))
    for quarters in range(4):
        whole = alignment.whole(size, other, quarters, mirrored=found.is_mirrored)
        if np.abs(at - alignment.moved(whole, placing.corners(size))).max() < WHOLE_TOLERANCE * max(other):
            return whole
    return found.matrix


def _looked_at(query: View, match: View, matrix: Matrix, count: int) -> _Told | None:
    """What the pixels say of an alignment; None if the pictures do not meet."""
    placed = placing.placing(match.to_whole @ matrix @ np.linalg.inv(query.to_whole), query.size, match.size)
    if placed is None:
        return None
    part, to_part = _part(query, placed)
    laid = comparison.frame(part, match.pixels, matrix @ to_part)
    if laid is None:
        return None
    smooth = [comparison.smoothed(each, 2.0) for each in (laid.query, laid.match)]
    tone = tones.fit(smooth[0], smooth[1], comparison.eroded(laid.inside))
    agreed = comparison.compare(laid, tone.of(laid.match))
    around = surroundings.surroundings(laid.query, laid.inside)
    overlaid = _overlaid(laid, agreed)
    return _Told(
        matrix, placed, laid, tone, agreed, around, overlaid, _confidence(agreed, around, placed, count, overlaid)
    )


def _part(query: View, placed: Placing) -> tuple[Pixels, Matrix]:
    """The part of the query around the match, and the way from places in it to places in the query, both at the working size."""
    outline = alignment.moved(np.linalg.inv(query.to_whole), placed.query_outline)
    size = np.array(_size(query))
    margin = np.maximum(MARGIN_SHARE * np.ptp(outline, axis=0), MARGIN_PX_MIN)
    start = np.maximum(np.floor(outline.min(0) - margin), 0).astype(int)
    end = np.minimum(np.ceil(outline.max(0) + margin) + 1, size).astype(int)
    to_whole = np.array([[1, 0, start[0]], [0, 1, start[1]], [0, 0, 1]], float)
    return query.pixels[start[1] : end[1], start[0] : end[0]], to_whole


def _overlaid(laid: Frame, agreed: Agreement) -> float:
    """Share of the frame on which something was laid over the match; 0 where what differs differs for another reason."""
    over = overlays.overlay(
        comparison.smoothed(laid.query, comparison.SMOOTHING_PX), agreed, comparison.eroded(laid.inside)
    )
    return over.area if over.edges > OVERLAY_EDGES and over.area > OVERLAY_AREA_MIN else 0.0


def _confidence(
    agreed: Agreement, around: surroundings.Surroundings, placed: Placing, count: int, overlaid: float
) -> float:
    """That the query is a copy: by the share of windows that agree, what is laid over excepted."""
    if agreed.textured.mean() < TEXTURED_MIN or abs(agreed.detail) < (DETAIL_MIN if count else DETAIL_GUESSED_MIN):
        return 0.0
    is_more = around.area > 0 and not around.is_plain and around.seam < surroundings.SEAM_MIN
    if is_more and placed.shown < 0.97:
        return 0.0  # the scene goes on in the query: another part of it, or another moment
    share = agreed.share
    if overlaid and share > OVERLAY_SHARE_MIN:
        share = 1 - 0.1 * (1 - share)
    return 1 / (1 + math.exp(-SHARE_SLOPE * (share - SHARE_COPY)))


def _edits(query: View, match: View, told: _Told) -> list[Edit]:
    done = placing.named(told.placed, query.size, match.size)
    done += _around(query, told)
    inside = comparison.eroded(told.laid.inside)
    if told.overlaid:
        done.append(("overlay", told.overlaid / max(float(told.laid.inside.mean()), 1e-6), "of area"))
    done += tones.named(told.tone, told.laid.query, told.laid.match, inside & told.agreed.agreeing)
    return done + _quality(query, match, told)


def _around(query: View, told: _Told) -> list[Edit]:
    placed = told.placed
    sides = np.ptp(placed.query_outline, axis=0) / query.size
    if told.around.area == 0 or sides.min() > 0.985:
        return []
    if told.around.is_plain:
        return [("border", float(1 - np.minimum(sides, 1).mean()), "of width and height")]
    if told.around.seam < surroundings.SEAM_MIN:
        return [("extended", float(1 - np.minimum(sides, 1).mean()), "of width and height")]
    starts, ends = placed.query_outline.min(0), np.array(query.size) - 1 - placed.query_outline.max(0)
    near = 0.012 * max(query.size)
    touching = int(np.count_nonzero(starts < near) + np.count_nonzero(ends < near))
    name = "collage" if (touching >= 2 and placed.shown < 0.985) or touching == 3 else "pasted"
    return [(name, placed.covered, "of area")]


def _quality(query: View, match: View, told: _Told) -> list[Edit]:
    done: list[Edit] = []
    px = abs(float(np.linalg.det((query.to_whole @ told.laid.to_query)[:2, :2]))) ** 0.5
    if told.agreed.blur_px > BLUR_PX_MIN:
        done.append(("blur", told.agreed.blur_px * px, "px"))
    if not query.is_whole:
        return done
    grains = math.sqrt(max(quality.noise(query.original) ** 2 - quality.noise(match.pixels) ** 2, 0))
    if grains > NOISE_MIN and told.agreed.noise > 0.006 and not done:
        done.append(("noise", grains, "of white"))
    grey = np.asarray(cv2.cvtColor(query.original, cv2.COLOR_RGB2GRAY) * 255, np.float32)
    saved = quality.jpeg_quality(grey)
    if 0 < saved <= quality.QUALITY_MAX:
        done.append(("jpeg", float(saved), "quality"))
    return done


def _size(view: View) -> tuple[int, int]:
    return view.pixels.shape[1], view.pixels.shape[0]
