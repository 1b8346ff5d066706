"""What the pixels say of an alignment: whether the query is a copy, and what of it shows the match."""

import math
from typing import NamedTuple

import numpy as np

from model.verdicts.photographs import alignment, clipping, comparison, overlays, placing, surroundings, tones
from model.verdicts.photographs.alignment import Matrix, inverse
from model.verdicts.photographs.comparison import Agreement, Frame, Mask, Pixels
from model.verdicts.photographs.placing import Placing
from model.verdicts.photographs.view import View

# Windows that do not fall apart, as a share of those that show something: from so many on the query is a copy.
SHARE_COPY = 0.93
SHARE_SLOPE = 60.0
# A picture with less in it, or with little that is fine in common, proves nothing.
# But so many pairs of features are more than enough.
PAIRS_CERTAIN = 30
TEXTURED_MIN, DETAIL_MIN, DETAIL_GUESSED_MIN = 0.02, 0.12, 0.4
# What is laid over a match leaves so much of it, with so much that is fine, and can be seen.
OVERLAY_SHARE_MIN, OVERLAY_DETAIL_MIN, OVERLAY_AREA_MIN = 0.4, 0.4, 0.002
# Around the match its surroundings are looked at, by so much of its own size.
MARGIN_SHARE, MARGIN_PX_MIN = 0.15, 8
# Colours are compared where sharpness does not matter.
TONE_SMOOTHING_PX = 2.0


class Told(NamedTuple):
    """One alignment, and what the pixels say of it.

    Attributes:
        matrix: from places in the query to places in the match, both at their working sizes.
        overlaid: share of the frame on which something was laid over the match.
        confidence: that the query is a copy.
    """

    matrix: Matrix
    placed: Placing
    laid: Frame
    tone: tones.Tone
    agreed: Agreement
    around: surroundings.Surroundings
    overlaid: float
    confidence: float


def looked_at(query: View, match: View, matrix: Matrix, count: int) -> Told | None:
    """What the pixels say of an alignment that so many pairs of features agree to; None if the pictures do not meet."""
    whole = match.to_whole @ matrix @ inverse(query.to_whole)
    placed = placing.placing(whole, query.size, match.size)
    if placed is None:
        return None
    part, to_part = _part(query, placed)
    laid = comparison.frame(part, match.pixels, matrix @ to_part)
    if laid is None:
        return None
    tone, agreed = _compared(laid)
    to_frame = inverse(query.to_whole @ to_part @ laid.to_query)
    overlaid = _overlaid(laid, tone, agreed)
    if agreed.share < SHARE_COPY:
        shown = clipping.visible(laid.query, laid.inside, agreed)
        if shown is not None:
            clip = alignment.moved(inverse(to_frame), shown.corners())
            clipped = placing.placing(whole, query.size, match.size, clip)
            if clipped is not None:
                placed, laid = clipped, laid._replace(inside=laid.inside & shown.mask(laid.inside.shape))
                tone, agreed = _compared(laid)
                overlaid = _overlaid(laid, tone, agreed)
    around = surroundings.surroundings(query.small, query.to_small, placed.query_outline, laid, to_frame)
    confidence = _confidence(agreed, around, placed, count, overlaid)
    return Told(matrix, placed, laid, tone, agreed, around, overlaid, confidence)


def _compared(laid: Frame) -> tuple[tones.Tone, Agreement]:
    inside = comparison.eroded(laid.inside)
    known: Mask = inside & comparison.unclipped(laid.query)
    query, match = (comparison.smoothed(each, TONE_SMOOTHING_PX) for each in (laid.query, laid.match))
    tone = tones.fit_tone(query, match, inside, known if known.sum() > 0.05 * inside.sum() else inside)
    return tone, comparison.agreement(laid, tone.of(laid.match))


def _part(query: View, placed: Placing) -> tuple[Pixels, Matrix]:
    """The part of the query around the match, and the way from places in it to places in the query, both at the working size."""
    outline = alignment.moved(inverse(query.to_whole), placed.query_outline)
    size = np.array(query.working_size)
    margin = np.maximum(MARGIN_SHARE * np.ptp(outline, axis=0), MARGIN_PX_MIN)
    start = np.maximum(np.floor(outline.min(0) - margin), 0).astype(int)
    end = np.minimum(np.ceil(outline.max(0) + margin) + 1, size).astype(int)
    to_whole = np.array([[1, 0, start[0]], [0, 1, start[1]], [0, 0, 1]], float)
    return query.pixels[start[1] : end[1], start[0] : end[0]], to_whole


def _overlaid(laid: Frame, tone: tones.Tone, agreed: Agreement) -> float:
    """Share of the frame on which something was laid over the match; 0 where what differs differs for another reason."""
    if abs(agreed.detail) < OVERLAY_DETAIL_MIN:
        return 0.0
    made = tone.of(laid.match)
    over = overlays.overlay(laid.query, comparison.smoothed(made, agreed.blur_px) if agreed.blur_px else made, agreed)
    return over.area if over.is_laid and over.area > OVERLAY_AREA_MIN else 0.0


def _confidence(
    agreed: Agreement, around: surroundings.Surroundings, placed: Placing, count: int, overlaid: float
) -> float:
    """That the query is a copy: by the share of windows that agree, what is laid over excepted."""
    is_little = agreed.textured.mean() < TEXTURED_MIN and count < PAIRS_CERTAIN
    if is_little or abs(agreed.detail) < (DETAIL_MIN if count else DETAIL_GUESSED_MIN):
        return 0.0
    seam_min = surroundings.SEAM_PLAIN_MIN if around.is_plain else surroundings.SEAM_MIN
    is_more = around.area > 0 and around.seam < seam_min
    if is_more and placed.shown < 0.97:
        return 0.0  # the scene goes on in the query: another part of it, or another moment
    share = agreed.share
    if overlaid and share > OVERLAY_SHARE_MIN:
        share = 1 - 0.1 * (1 - share)
    return float(1 / (1 + math.exp(-SHARE_SLOPE * (share - SHARE_COPY))))
