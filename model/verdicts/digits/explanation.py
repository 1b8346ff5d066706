"""What was done to one digit to get another, or that one is no copy of the other: analysis by synthesis.

Each way in which the query could have come from the match is fitted and then done to the match. The one that leaves least is
taken, where every further amount has to pay for itself; what it leaves decides whether the query is a copy at all.
"""

import math

import numpy as np
from numpy.typing import NDArray

from model.verdicts.digits.edits import Alignment
from model.verdicts.digits.ways import BLUR_PX_MIN, BRIGHTNESS_MIN, CONTRAST_MIN, Geometry, Way, best_way
from model.verdicts.frames import Edit, Explained

# So much storing blurs, where it is lossy.
STORED_BLUR_PX_MIN = 0.8
# From the residual to the confidence: set between residuals of altered digits (nearly all below 0.09) and of near neighbours (from 0.12 up);
# `python -m bench explain` measures what they are worth.
CONFIDENCE_SLOPE = 4.0
CONFIDENCE_RESIDUAL = 0.12


def explain_digit(
    query: NDArray[np.uint8],
    match: NDArray[np.uint8],
    *,
    query_px: float = 1.0,
    match_px: float = 1.0,
    match_loss: float = 0.0,
) -> Explained:
    """Explain `query` (h, w) uint8 as an altered copy of `match` (h, w) uint8; both grey.

    Args:
        query_px, match_px: pixels of the picture itself to one of the array, where that was reduced: amounts and alignment
            are in pixels of the pictures themselves.
        match_loss: by how much of white (root mean square) the match is off because of how it was stored; that is not counted.
    """
    if query.shape == match.shape and np.array_equal(query, match) and query_px == match_px:
        return Explained("same pixels", [], np.eye(3).tolist(), 0.0, 1.0)
    q, m = (each.astype(np.float32) / np.float32(255) for each in (query, match))
    way, residual = best_way(q, m, match_loss)
    confidence = 1 / (1 + math.exp(CONFIDENCE_SLOPE * (math.log(max(residual, 1e-4)) - math.log(CONFIDENCE_RESIDUAL))))
    if way is None or confidence < 0.5:
        return Explained("similar", [], [], residual, confidence)
    alignment = _in_pixels(way.placed.alignment, query_px, match_px)
    done = [
        *_moves(way.placed.geometry, alignment, q.shape, m.shape, query_px, match_px),
        *_filters(way, query_px, STORED_BLUR_PX_MIN if match_loss else BLUR_PX_MIN),
    ]
    return Explained("altered copy", done, alignment.tolist(), residual, confidence)


def _in_pixels(alignment: Alignment, query_px: float, match_px: float) -> NDArray[np.float64]:
    """An alignment of arrays as one (3, 3) of the pictures that they were reduced from."""
    whole = np.vstack([alignment.astype(np.float64), [0, 0, 1]])
    aligned: NDArray[np.float64] = _enlarging(match_px) @ whole @ np.linalg.inv(_enlarging(query_px))
    return aligned


def _enlarging(factor: float) -> NDArray[np.float64]:
    half = (factor - 1) / 2
    return np.array([[factor, 0, half], [0, factor, half], [0, 0, 1]])


def _moves(
    geometry: Geometry,
    alignment: NDArray[np.float64],
    query_shape: tuple[int, ...],
    match_shape: tuple[int, ...],
    query_px: float,
    match_px: float,
) -> list[Edit]:
    """The geometry in words. What an affine alignment did by less than can be told from nothing is left out."""
    to_query = np.linalg.inv(alignment)
    scale = math.sqrt(abs(float(np.linalg.det(to_query[:2, :2]))))
    angle = math.degrees(math.atan2(to_query[0, 1] - to_query[1, 0], to_query[0, 0] + to_query[1, 1]))
    query_side, match_side = (
        np.array(shape[::-1]) * px for shape, px in ((query_shape, query_px), (match_shape, match_px))
    )
    middle = to_query @ [*(match_side - 1) / 2, 1]
    shift = float(np.hypot(*(middle[:2] - (query_side - 1) / 2)))
    cut = float(np.mean(1 - query_side / (match_side * scale)))
    is_all = geometry == "affine"
    moves = []
    if geometry == "rotation" or (is_all and abs(angle) > 1):
        moves.append(Edit("rotation", angle, "°"))
    if geometry in ("zoom", "resize") or abs(scale - 1) > 0.02:
        moves.append(Edit("scale", scale, "×"))
    if geometry == "crop" or (is_all and cut > 0.02 and query_shape != match_shape):
        moves.append(Edit("crop", cut, "of width and height"))
    elif geometry == "shift" or (is_all and shift > 0.3):
        moves.append(Edit("shift", shift, "px"))
    return moves


def _filters(way: Way, query_px: float, blur_px_min: float) -> list[Edit]:
    done = []
    if way.blur_px > blur_px_min:
        done.append(Edit("blur", way.blur_px * query_px, "px"))
    if way.factor < 0:
        done.append(Edit("inversion", 1.0, ""))
    contrast = abs(way.factor)
    # The offset at middle grey, where contrast changes nothing.
    brightness = way.offset + (way.factor - 1) / 2
    if abs(contrast - 1) > CONTRAST_MIN:
        done.append(Edit("contrast", contrast, "×"))
    if abs(brightness) > BRIGHTNESS_MIN:
        done.append(Edit("brightness", brightness, "of white"))
    if way.quality:
        done.append(Edit("jpeg", float(way.quality), "quality"))
    if way.noise:
        done.append(Edit("noise", way.noise, "of white"))
    return done
