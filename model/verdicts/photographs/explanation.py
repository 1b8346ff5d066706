"""What was done to one photograph to get another, or that one is no copy of the other.

Local features say where the match stands in the query; then the pixels decide. Of a copy they agree in every window that shows anything,
but for where something was laid over it; of the next frame of a film what moved does not.
"""

import math

import numpy as np

from model.verdicts.frames import Edit, Explained
from model.verdicts.photographs import comparison, placing, quality, surroundings, tones
from model.verdicts.photographs.alignment import inverse
from model.verdicts.photographs.candidates import alignments
from model.verdicts.photographs.looking import Told, looked_at
from model.verdicts.photographs.view import View

CONFIDENCE_ENOUGH = 0.9
_BLUR_PX_MIN, _NOISE_MIN = 0.75, 0.018


def explain_photograph(query: View, match: View, hypothesis: str = "") -> Explained:
    """Explain a query as an altered copy of a match, which was found by the hypothesis, if there is one."""
    best: Told | None = None
    for matrix, count in alignments(query, match, hypothesis):
        told = looked_at(query, match, matrix, count)
        if told is not None and (best is None or told.confidence > best.confidence):
            best = told
        if best is not None and best.confidence > CONFIDENCE_ENOUGH:
            break
    if best is None:
        return Explained("similar", [], [], 1.0, 0.0)
    if best.confidence < 0.5:
        residual = float(min(max(best.agreed.residual, best.agreed.worse), 1.0))
        return Explained("similar", [], [], residual, best.confidence)
    whole = match.to_whole @ best.matrix @ inverse(query.to_whole)
    outline = (best.placed.query_outline.tolist(), best.placed.match_outline.tolist())
    alignment = (whole / whole[2, 2]).tolist()
    residual = float(min(best.agreed.residual, 1.0))
    edits = [Edit(name, float(amount), unit) for name, amount, unit in _edits(query, match, best)]
    return Explained("altered copy", edits, alignment, residual, best.confidence, outline)


def _edits(query: View, match: View, told: Told) -> list[Edit]:
    done = placing.placing_edits(told.placed, query.size, match.size)
    done += _around(query, told)
    inside = comparison.eroded(told.laid.inside)
    if told.overlaid:
        done.append(Edit("overlay", told.overlaid / max(float(told.laid.inside.mean()), 1e-6), "of area"))
    done += tones.tone_edits(told.tone, told.laid.query, told.laid.match, inside & told.agreed.agreeing)
    return done + _quality(query, match, told)


def _around(query: View, told: Told) -> list[Edit]:
    placed = told.placed
    sides = np.ptp(placed.query_outline, axis=0) / query.size
    if told.around.area == 0 or sides.min() > 0.985:
        return []
    if told.around.is_plain:
        return [Edit("border", float(1 - np.minimum(sides, 1).mean()), "of width and height")]
    if told.around.seam < surroundings.SEAM_MIN:
        return [Edit("extended", float(1 - np.minimum(sides, 1).mean()), "of width and height")]
    starts, ends = placed.query_outline.min(0), np.array(query.size) - 1 - placed.query_outline.max(0)
    near = 0.012 * max(query.size)
    touching = int(np.count_nonzero(starts < near) + np.count_nonzero(ends < near))
    name = "collage" if (touching >= 2 and placed.shown < 0.985) or touching == 3 else "pasted"
    return [Edit(name, placed.covered, "of area")]


def _quality(query: View, match: View, told: Told) -> list[Edit]:
    done: list[Edit] = []
    px = abs(float(np.linalg.det((query.to_whole @ told.laid.to_query)[:2, :2]))) ** 0.5
    if told.agreed.blur_px > _BLUR_PX_MIN:
        done.append(Edit("blur", told.agreed.blur_px * px, "px"))
    if query.is_whole:
        grains = math.sqrt(max(query.noise**2 - quality.noise(match.pixels) ** 2, 0))
        if grains > _NOISE_MIN and told.agreed.noise > 0.006 and not done:
            done.append(Edit("noise", grains, "of white"))
        if 0 < query.jpeg_quality <= quality.QUALITY_MAX:
            done.append(Edit("jpeg", float(query.jpeg_quality), "quality"))
    return done
