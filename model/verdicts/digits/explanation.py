"""What was done to one picture to get another, or that one is no copy of the other: analysis by synthesis.

Each way in which the query could have come from the match is fitted and then done to the match. The one that leaves least is
taken, where every further amount has to pay for itself; what it leaves decides whether the query is a copy at all.
"""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.digits import edits
from model.verdicts.digits.edits import Edit, Pixels

Verdict = Literal["same pixels", "altered copy", "similar"]
Geometry = Literal["none", "shift", "rotation", "zoom", "resize", "crop", "affine"]

# Half a step of 8 bits on either side, three times: what is left below that has no meaning.
POWER_MIN = (1.5 / 255) ** 2
# An amount has to lessen the cost, pixels * log(mean square), by more than this. Of a larger picture neighbours say the same.
PARAMETER_COST = 14.0
PIXELS_MAX = 1000
# Smaller pictures say too little.
SIDE_PX_MIN = 8
# 1 - correlation^2 of a good fit, and beyond which nothing that we know of makes one picture of the other (but noise).
DISTANCE_GOOD, DISTANCE_MAX = 0.004, 0.08
# What is left counts as noise if it is more than rounding and so little smooth: that of 784 pixels is 0 with a deviation of 0.015.
NOISE_SMOOTHNESS_MAX = 0.05
NOISE_MIN = 0.025
# In black and in white half of the noise is cut off.
NOISE_SPREAD_MIN = 0.35
RIPPLES_SMOOTHNESS_MAX = 0.3
# Blur and JPEG leave something like noise too, but when they are undone nothing.
NOISE_SHARE_MIN = 0.6
# JPEG has to explain so much of what is left: at the right quality it explains nearly all.
JPEG_SHARE_MAX = 0.5
# What resampling alone may look like, and less than anyone sees.
BLUR_PX_MIN, CONTRAST_MIN, BRIGHTNESS_MIN, ANGLE_DEG_MIN, ZOOM_MIN = 0.35, 0.05, 0.02, 0.8, 0.015
# So much storing blurs, where it is lossy.
STORED_BLUR_PX_MIN = 0.8
# From the residual to the confidence: set between residuals of altered digits (nearly all below 0.09) and of near neighbours (from 0.12 up);
# `python -m bench explain` measures what they are worth.
CONFIDENCE_SLOPE = 4.0
CONFIDENCE_RESIDUAL = 0.12


class Explanation(NamedTuple):
    """What is said of a query and a match.

    Attributes:
        edits: what was done to the match, empty unless the verdict is ``altered copy``.
        alignment: (3, 3) float64, from places (x, y, 1) in the query to places in the match, in pixels counted from the middle
            of the upper left one; None of a similar picture.
        residual: what is left after the edits, as a share of the match's own variation: 0 nothing; noise does not count.
        confidence: that the query is a copy of the match, in [0, 1].
    """

    verdict: Verdict
    edits: list[Edit]
    alignment: NDArray[np.float64] | None
    residual: float
    confidence: float


class _Placed(NamedTuple):
    geometry: Geometry
    parameters: int
    alignment: Pixels
    plain: Pixels


class _Way(NamedTuple):
    placed: _Placed
    blur_px: float
    factor: float
    offset: float
    quality: int
    noise: float
    picture: Pixels
    cost: float


def explain(
    query: NDArray[np.uint8],
    match: NDArray[np.uint8],
    *,
    query_px: float = 1.0,
    match_px: float = 1.0,
    match_loss: float = 0.0,
) -> Explanation:
    """Explain `query` (h, w) uint8 as an altered copy of `match` (h, w) uint8; both grey.

    Args:
        query_px, match_px: pixels of the picture itself to one of the array, where that was reduced: amounts and alignment
            are in pixels of the pictures themselves.
        match_loss: by how much of white (root mean square) the match is off because of how it was stored; that is not counted.
    """
    if query.shape == match.shape and np.array_equal(query, match) and query_px == match_px:
        return Explanation("same pixels", [], np.eye(3), 0.0, 1.0)
    q, m = (each.astype(np.float32) / np.float32(255) for each in (query, match))
    way, residual = _best(q, m, match_loss)
    confidence = 1 / (1 + math.exp(CONFIDENCE_SLOPE * (math.log(max(residual, 1e-4)) - math.log(CONFIDENCE_RESIDUAL))))
    if way is None or confidence < 0.5:
        return Explanation("similar", [], None, residual, confidence)
    alignment = _in_pixels(way.placed.alignment, query_px, match_px)
    done = [
        *_moves(way.placed.geometry, alignment, q.shape, m.shape, query_px, match_px),
        *_filters(way, query_px, STORED_BLUR_PX_MIN if match_loss else BLUR_PX_MIN),
    ]
    return Explanation("altered copy", done, alignment, residual, confidence)


def _best(query: Pixels, match: Pixels, loss: float) -> tuple[_Way | None, float]:
    """The best way from match to query, and what it leaves; no way where the pictures have too little in common."""
    variation = float(match.std())
    if min(*query.shape, *match.shape) < SIDE_PX_MIN or variation < 0.02 or float(query.std()) < 0.01:
        return None, 1.0
    places = list(_placed(match, query))
    distances = [edits.distance(placed.plain, query) for placed in places]
    nearest = places[distances.index(min(distances))]
    tried = [min(places, key=lambda placed: placed.parameters), nearest]
    if min(distances) > DISTANCE_GOOD:
        fits = [_bare(placed, query) for placed in tried]
        if not any(_noisy(way, query).noise for way in fits):
            refined = edits.refine_alignment(match, query if fits[1].factor > 0 else 1 - query, nearest.alignment)
            if refined is not None:
                tried.append(_Placed("affine", 6, refined, edits.warped(match, query, refined)))
            left = _distance_at_best(tried[-1].plain, query)
            if left > DISTANCE_MAX and not _noisy(_bare(tried[-1], query), query).noise:
                left = min(left, _distance_at_best(nearest.plain, query))
                if left > DISTANCE_MAX:
                    return None, math.sqrt(left)
    way = _way_of(list({id(placed): placed for placed in tried}.values()), query)
    return way, _residual(way, query, variation, loss)


def _distance_at_best(plain: Pixels, query: Pixels) -> float:
    """The distance to the query, blurred or not."""
    blurred = edits.blurred(plain, max(edits.fit_blur(plain, query), BLUR_PX_MIN))
    return min(edits.distance(plain, query), edits.distance(blurred, query))


def _placed(match: Pixels, query: Pixels) -> Iterator[_Placed]:
    """Where the match may stand in the query."""
    shape = query.shape
    plain = _Placed("none", 0, np.eye(2, 3, dtype=np.float32), match)
    if shape != match.shape:
        alignment = edits.resized_alignment(shape, match.shape)
        yield _Placed("resize", 0, alignment, edits.resized(match, shape))
        if shape[0] <= match.shape[0] and shape[1] <= match.shape[1]:
            alignment = edits.fit_crop(match, query)
            yield _Placed("crop", 1, alignment, edits.warped(match, query, alignment))
        return
    yield plain
    if edits.distance(match, query) < 1e-4:
        return
    alignment = edits.fit_shift(match, query)
    yield _Placed("shift", 2, alignment, edits.warped(match, query, alignment))
    angle_deg, scale = edits.fit_turn(match, query)
    if abs(angle_deg) > ANGLE_DEG_MIN:
        alignment = edits.turned_alignment(shape, angle_deg, 1)
        yield _Placed("rotation", 1, alignment, edits.warped(match, query, alignment))
    if abs(scale - 1) > ZOOM_MIN:
        alignment = edits.turned_alignment(shape, 0, scale)
        yield _Placed("zoom", 1, alignment, edits.warped(match, query, alignment))


def _way_of(places: list[_Placed], query: Pixels) -> _Way:
    """The best way from a match that stands so."""
    bare = min((_bare(placed, query) for placed in places), key=lambda way: way.cost)
    if _rms(bare.picture, query) < NOISE_MIN / 2:
        return bare
    noisy = _noisy(bare, query)
    if noisy.noise:
        others = [*_blurred(bare, query), *_saved(bare, query)]
        best = min((_rms(way.picture, query) for way in others), default=1.0)
        if best > NOISE_SHARE_MIN * _rms(bare.picture, query):
            return noisy
    ways = [bare]
    for placed in places:
        toned = _toned(placed, placed.plain, query)
        ways += [toned, *_blurred(toned, query)]
    ways += [saved for way in (bare, min(ways, key=lambda way: way.cost)) for saved in _saved(way, query)]
    return _noisy(min(ways, key=lambda way: way.cost), query)


def _blurred(way: _Way, query: Pixels) -> Iterator[_Way]:
    """A way on which the picture was blurred as well."""
    blur_px = edits.fit_blur(way.placed.plain, query)
    if blur_px > BLUR_PX_MIN:
        is_toned = _parameters(way) > way.placed.parameters
        blurred = edits.blurred(way.placed.plain, blur_px)
        yield _toned(way.placed, blurred, query, is_toned=is_toned, parameters=1)._replace(blur_px=blur_px)


def _saved(way: _Way, query: Pixels) -> Iterator[_Way]:
    """A way on which the picture was saved as JPEG as well, if what is left may be that: ripples, not shapes."""
    if edits.smoothness(query - way.picture) > RIPPLES_SMOOTHNESS_MAX:
        return
    quality = edits.fit_jpeg(way.picture, query, JPEG_SHARE_MAX * _power(way.picture, query))
    if quality:
        saved = edits.compressed(way.picture, quality)
        yield way._replace(quality=quality, picture=saved, cost=_cost(saved, query, _parameters(way) + 1))


def _noisy(way: _Way, query: Pixels) -> _Way:
    """A way with noise, if what it leaves looks like that."""
    if _rms(way.picture, query) < NOISE_MIN:
        return way
    if np.count_nonzero(np.abs(way.picture - query) > 1 / 255) < NOISE_SPREAD_MIN * query.size:
        return way  # noise is everywhere
    deviation, difference = edits.fit_noise(way.picture, query)
    return way._replace(noise=deviation) if edits.smoothness(difference) < NOISE_SMOOTHNESS_MAX else way


def _bare(placed: _Placed, query: Pixels) -> _Way:
    """The way on which nothing was done to the match but that it stands so, inverted or not."""
    return _toned(placed, placed.plain, query, is_toned=False)


def _toned(placed: _Placed, plain: Pixels, query: Pixels, *, is_toned: bool = True, parameters: int = 0) -> _Way:
    """The best tone for what a way has come to so far: inverted or not, and by up to two amounts unless `is_toned` is false."""
    factor, offset = edits.fit_tone(plain, query)
    sign = math.copysign(1.0, factor)
    tones = [(sign, (1 - sign) / 2, 0)]
    if is_toned:
        inside = (query > 0.004) & (query < 0.996)
        brighter = float(np.mean((query - sign * plain)[inside])) if inside.any() else offset
        if abs(brighter + (sign - 1) / 2) > BRIGHTNESS_MIN:
            tones.append((sign, brighter, 1))
        if abs(abs(factor) - 1) > CONTRAST_MIN:
            tones += [(factor, 0.5 - factor / 2, 1), (factor, offset, 2)]
    ways = []
    for factor, offset, amounts in tones:
        picture = edits.toned(plain, factor, offset)
        cost = _cost(picture, query, placed.parameters + parameters + amounts)
        ways.append(_Way(placed, 0.0, factor, offset, 0, 0.0, picture, cost))
    return min(ways, key=lambda way: way.cost)


def _parameters(way: _Way) -> int:
    sign = math.copysign(1.0, way.factor)
    has_tone = (way.factor != sign) + (abs(way.offset - (1 - way.factor) / 2) > 1e-6)
    return way.placed.parameters + has_tone + (way.blur_px > 0) + (way.quality > 0)


def _cost(picture: Pixels, query: Pixels, parameters: int) -> float:
    power = _power(picture, query) + POWER_MIN
    return min(query.size, PIXELS_MAX) * math.log(power) + PARAMETER_COST * parameters


def _rms(picture: Pixels, query: Pixels) -> float:
    return math.sqrt(_power(picture, query))


def _power(picture: Pixels, query: Pixels) -> float:
    return float(cv2.norm(picture, query, cv2.NORM_L2SQR)) / query.size


def _residual(way: _Way, query: Pixels, variation: float, loss: float) -> float:
    """What has a shape of what the way leaves, as a share of the match's variation, in the query's own contrast."""
    difference = query - way.picture
    smooth = max(edits.smoothness(difference if not way.noise else edits.fit_noise(way.picture, query)[1]), 0.004)
    power = float(np.mean(difference * difference)) * (smooth if way.noise else 1.0)
    power = max(power - (loss * way.factor) ** 2, 0.0)
    return float(np.sqrt(power)) / (variation * max(abs(way.factor), 0.1))


def _in_pixels(alignment: Pixels, query_px: float, match_px: float) -> NDArray[np.float64]:
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


def _filters(way: _Way, query_px: float, blur_px_min: float) -> list[Edit]:
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
