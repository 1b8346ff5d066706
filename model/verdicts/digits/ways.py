"""Ways in which one picture could have come from another: each is fitted and then done to the match, and the best one is taken."""

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import cv2
import numpy as np

from model.verdicts.digits import edits
from model.verdicts.digits.edits import Alignment, Grey

Geometry = Literal["none", "shift", "rotation", "zoom", "resize", "crop", "affine"]

# Half a step of 8 bits on either side, three times: what is left below that has no meaning.
POWER_MIN = (1.5 / 255) ** 2
# An amount has to lessen the cost, pixels * log(mean square), by more than this. Of a larger picture neighbours say the same.
PARAMETER_COST = 14.0
COST_PIXELS_MAX = 1000
# Smaller pictures say too little.
SIDE_PX_MIN = 8
# 1 - correlation^2 of a good fit, and beyond which nothing that we know of makes one picture of the other (but noise).
DISSIMILARITY_GOOD, DISSIMILARITY_MAX = 0.004, 0.08
# What is left counts as noise if it is more than rounding and so little smooth: that of 784 pixels is 0 with a deviation of 0.015.
NOISE_SMOOTHNESS_MAX = 0.05
_NOISE_MIN = 0.025
# In black and in white half of the noise is cut off.
NOISE_SPREAD_MIN = 0.35
RIPPLES_SMOOTHNESS_MAX = 0.3
# Blur and JPEG leave something like noise too, but when they are undone nothing.
NOISE_SHARE_MIN = 0.6
# JPEG has to explain so much of what is left: at the right quality it explains nearly all.
JPEG_SHARE_MAX = 0.5
# What resampling alone may look like, and less than anyone sees.
BLUR_PX_MIN, CONTRAST_MIN, BRIGHTNESS_MIN, ANGLE_DEG_MIN, ZOOM_MIN = 0.35, 0.05, 0.02, 0.8, 0.015


class Placed(NamedTuple):
    """Where a match may stand in a query.

    Attributes:
        parameters: how many amounts say so.
        alignment: (2, 3), see `model.verdicts.digits.edits`.
        plain: (h, w) of the query, the match as it stands there.
    """

    geometry: Geometry
    parameters: int
    alignment: Alignment
    plain: Grey


class Way(NamedTuple):
    """All that was done to a match to get a query.

    Attributes:
        blur_px: deviation of a Gaussian, 0 without.
        factor, offset: of the tone.
        quality: of JPEG, 0 without.
        noise: its deviation, 0 without.
        picture: (h, w) of the query, the match after all of it but the noise.
        cost: what the picture is off, where every amount has to pay for itself.
    """

    placed: Placed
    blur_px: float
    factor: float
    offset: float
    quality: int
    noise: float
    picture: Grey
    cost: float


def best_way(query: Grey, match: Grey, loss: float) -> tuple[Way | None, float]:
    """The best way from match to query, and what it leaves; no way where the pictures have too little in common."""
    variation = float(match.std())
    if min(*query.shape, *match.shape) < SIDE_PX_MIN or variation < 0.02 or float(query.std()) < 0.01:
        return None, 1.0
    places = list(_placed(match, query))
    dissimilarities = [edits.dissimilarity(placed.plain, query) for placed in places]
    nearest = places[dissimilarities.index(min(dissimilarities))]
    tried = [min(places, key=lambda placed: placed.parameters), nearest]
    if min(dissimilarities) > DISSIMILARITY_GOOD:
        fits = [_bare(placed, query) for placed in tried]
        if not any(_noisy(way, query).noise for way in fits):
            refined = edits.refine_alignment(match, query if fits[1].factor > 0 else 1 - query, nearest.alignment)
            if refined is not None:
                tried.append(Placed("affine", 6, refined, edits.warped(match, query, refined)))
            left = _dissimilarity_at_best(tried[-1].plain, query)
            if left > DISSIMILARITY_MAX and not _noisy(_bare(tried[-1], query), query).noise:
                left = min(left, _dissimilarity_at_best(nearest.plain, query))
                if left > DISSIMILARITY_MAX:
                    return None, math.sqrt(left)
    way = _way_of(list({id(placed): placed for placed in tried}.values()), query)
    return way, _residual(way, query, variation, loss)


def _dissimilarity_at_best(plain: Grey, query: Grey) -> float:
    """How unlike the query it is, blurred or not."""
    blurred = edits.blurred(plain, max(edits.fit_blur(plain, query), BLUR_PX_MIN))
    return min(edits.dissimilarity(plain, query), edits.dissimilarity(blurred, query))


def _placed(match: Grey, query: Grey) -> Iterator[Placed]:
    """Where the match may stand in the query."""
    shape = query.shape
    plain = Placed("none", 0, np.eye(2, 3, dtype=np.float32), match)
    if shape != match.shape:
        alignment = edits.resized_alignment(shape, match.shape)
        yield Placed("resize", 0, alignment, edits.resized_to(match, shape))
        if shape[0] <= match.shape[0] and shape[1] <= match.shape[1]:
            alignment = edits.fit_crop(match, query)
            yield Placed("crop", 1, alignment, edits.warped(match, query, alignment))
        return
    yield plain
    if edits.dissimilarity(match, query) < 1e-4:
        return
    alignment = edits.fit_shift(match, query)
    yield Placed("shift", 2, alignment, edits.warped(match, query, alignment))
    angle_deg, scale = edits.fit_turn(match, query)
    if abs(angle_deg) > ANGLE_DEG_MIN:
        alignment = edits.turned_alignment(shape, angle_deg, 1)
        yield Placed("rotation", 1, alignment, edits.warped(match, query, alignment))
    if abs(scale - 1) > ZOOM_MIN:
        alignment = edits.turned_alignment(shape, 0, scale)
        yield Placed("zoom", 1, alignment, edits.warped(match, query, alignment))


def _way_of(places: list[Placed], query: Grey) -> Way:
    """The best way from a match that stands so."""
    bare = min((_bare(placed, query) for placed in places), key=lambda way: way.cost)
    if _rms(bare.picture, query) < _NOISE_MIN / 2:
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


def _blurred(way: Way, query: Grey) -> Iterator[Way]:
    """A way on which the picture was blurred as well."""
    blur_px = edits.fit_blur(way.placed.plain, query)
    if blur_px > BLUR_PX_MIN:
        is_toned = _parameters(way) > way.placed.parameters
        blurred = edits.blurred(way.placed.plain, blur_px)
        yield _toned(way.placed, blurred, query, is_toned=is_toned, parameters=1)._replace(blur_px=blur_px)


def _saved(way: Way, query: Grey) -> Iterator[Way]:
    """A way on which the picture was saved as JPEG as well, if what is left may be that: ripples, not shapes."""
    if edits.smoothness(query - way.picture) > RIPPLES_SMOOTHNESS_MAX:
        return
    quality = edits.fit_jpeg(way.picture, query, JPEG_SHARE_MAX * _power(way.picture, query))
    if quality:
        saved = edits.compressed(way.picture, quality)
        yield way._replace(quality=quality, picture=saved, cost=_cost(saved, query, _parameters(way) + 1))


def _noisy(way: Way, query: Grey) -> Way:
    """A way with noise, if what it leaves looks like that."""
    if _rms(way.picture, query) < _NOISE_MIN:
        return way
    if np.count_nonzero(np.abs(way.picture - query) > 1 / 255) < NOISE_SPREAD_MIN * query.size:
        return way  # noise is everywhere
    deviation, difference = edits.fit_noise(way.picture, query)
    return way._replace(noise=deviation) if edits.smoothness(difference) < NOISE_SMOOTHNESS_MAX else way


def _bare(placed: Placed, query: Grey) -> Way:
    """The way on which nothing was done to the match but that it stands so, inverted or not."""
    return _toned(placed, placed.plain, query, is_toned=False)


def _toned(placed: Placed, plain: Grey, query: Grey, *, is_toned: bool = True, parameters: int = 0) -> Way:
    """The best tone for what a way has come to so far: inverted or not, and by up to two amounts unless `is_toned` is false."""
    factor, offset = edits.fit_grey_tone(plain, query)
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
        ways.append(Way(placed, 0.0, factor, offset, 0, 0.0, picture, cost))
    return min(ways, key=lambda way: way.cost)


def _parameters(way: Way) -> int:
    sign = math.copysign(1.0, way.factor)
    has_tone = (way.factor != sign) + (abs(way.offset - (1 - way.factor) / 2) > 1e-6)
    return way.placed.parameters + has_tone + (way.blur_px > 0) + (way.quality > 0)


def _cost(picture: Grey, query: Grey, parameters: int) -> float:
    power = _power(picture, query) + POWER_MIN
    return min(query.size, COST_PIXELS_MAX) * math.log(power) + PARAMETER_COST * parameters


def _rms(picture: Grey, query: Grey) -> float:
    return math.sqrt(_power(picture, query))


def _power(picture: Grey, query: Grey) -> float:
    return float(cv2.norm(picture, query, cv2.NORM_L2SQR)) / query.size


def _residual(way: Way, query: Grey, variation: float, loss: float) -> float:
    """What has a shape of what the way leaves, as a share of the match's variation, in the query's own contrast."""
    difference = query - way.picture
    smooth = max(edits.smoothness(difference if not way.noise else edits.fit_noise(way.picture, query)[1]), 0.004)
    power = float(np.mean(difference * difference)) * (smooth if way.noise else 1.0)
    power = max(power - (loss * way.factor) ** 2, 0.0)
    return float(np.sqrt(power)) / (variation * max(abs(way.factor), 0.1))
