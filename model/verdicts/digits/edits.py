"""The edits that an explanation can name, one by one: each is fitted to a pair of pictures, and can be done to one of them.

Pictures are (h, w) float32 in [0, 1]. An alignment is (2, 3) float32: it takes places (x, y) in the query, counted from the
middle of the pixel in the upper left corner, to places in the match.
"""

import math
from functools import cache, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]
Alignment = NDArray[np.float32]
# A border of such pixels is black.
DARK = 0.1
# Angles and factors that are tried first; between them it is searched on.
TURNS = tuple(
    [(float(angle), 1.0) for angle in range(-28, 29, 7)] + [(0.0, scale) for scale in (0.74, 0.87, 1.13, 1.26)]
)
# A phase correlation is this sure of a shift by whole pixels.
WHOLE_PX = 0.2
ECC_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 25, 1e-4)
BLURS_PX = (0.3, 0.45, 0.65, 0.9, 1.25, 1.75, 2.4, 3.2)
_BLURS_NEAR = [
    tuple(np.linspace(BLURS_PX[max(at - 1, 0)], BLURS_PX[min(at + 1, len(BLURS_PX) - 1)], 9).tolist())
    for at in range(len(BLURS_PX))
]
# With fewer greys in the query its tone is fitted to black and white as well.
TONE_PIXELS_MIN = 30
# The mean of the nearest and next pixels around one.
_NEAR = np.array([[0, 0, 1, 0, 0], [0, 1, 1, 1, 0], [1, 1, 0, 1, 1], [0, 1, 1, 1, 0], [0, 0, 1, 0, 0]], np.float32) / 12


def warped(match: Grey, query: Grey, alignment: Alignment) -> Grey:
    """The match as it stands in the query; beyond its border its outermost pixels go on, or black or white if that fits better."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    size = query.shape[::-1]
    plain = _cut(cv2.warpAffine(match, alignment, size, flags=flags, borderMode=cv2.BORDER_REPLICATE))
    if max(float(edge.max()) for edge in (match[0], match[-1], match[:, 0], match[:, -1])) < DARK:
        return plain
    filled = [_cut(cv2.warpAffine(match, alignment, size, flags=flags, borderValue=grey)) for grey in (0.0, 1.0)]
    return min((plain, *filled), key=lambda picture: dissimilarity(picture, query))


def resized_to(match: Grey, shape: tuple[int, int]) -> Grey:
    """The match at another size (h, w); Pillow's filter, since OpenCV's cubic one does not look at all pixels when it reduces."""
    return _cut(np.asarray(Image.fromarray(match).resize(shape[::-1], Image.Resampling.BICUBIC)))


def resized_alignment(query_shape: tuple[int, int], match_shape: tuple[int, int]) -> Alignment:
    """Alignment of two pictures that show the same at different sizes (h, w)."""
    y, x = (match / query for match, query in zip(match_shape, query_shape, strict=True))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]], np.float32)


def turned_alignment(shape: tuple[int, int], angle_deg: float, scale: float) -> Alignment:
    """Alignment of a query that is the match turned counter-clockwise and scaled about the middle of the same frame."""
    middle = ((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    return cv2.getRotationMatrix2D(middle, -angle_deg, 1 / scale).astype(np.float32)


def fit_shift(match: Grey, query: Grey) -> Alignment:
    """Alignment of two pictures of the same shape of which one is shifted, by phase correlation."""
    (x, y), _ = cv2.phaseCorrelate(match, query)
    x, y = (round(each) if abs(each - round(each)) < WHOLE_PX else each for each in (x, y))
    return np.array([[1, 0, -x], [0, 1, -y]], np.float32)


def fit_turn(match: Grey, query: Grey) -> tuple[float, float]:
    """Degrees by which the query is turned and the factor by which it is scaled: one of them, the better; 0 and 1 if neither is."""
    costs = _turned_dissimilarities(match, _turn_maps(query.shape, TURNS), query)
    angle, scale = best = TURNS[int(costs.argmin())]
    if best == (0.0, 1.0):
        return best
    if angle:
        angles = angle + np.arange(-7, 7.1, 1.75)
        return _lowest(
            angles, _turned_dissimilarities(match, _turn_maps(query.shape, tuple((a, 1.0) for a in angles)), query)
        ), 1.0
    scales = scale + np.arange(-0.1, 0.11, 0.025)
    return 0.0, _lowest(
        scales, _turned_dissimilarities(match, _turn_maps(query.shape, tuple((0.0, s) for s in scales)), query)
    )


def _turned_dissimilarities(
    match: Grey, maps: tuple[NDArray[np.float32], NDArray[np.float32]], query: Grey
) -> NDArray[np.float32]:
    """Dissimilarities (n,) of the query to the match turned in n ways."""
    moved = cv2.remap(match, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return dissimilarities(np.asarray(moved, np.float32).reshape(-1, query.size), query)


@lru_cache(maxsize=64)
def _turn_maps(
    shape: tuple[int, int], turns: tuple[tuple[float, float], ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where in the match each pixel of n queries of `shape` (h, w) is from: x and y, (n * h, w), of n angles and factors."""
    angles, scales = np.array(turns, np.float32)[:, :, None, None].transpose(1, 0, 2, 3)
    cos, sin = (part(np.radians(angles)) / scales for part in (np.cos, np.sin))
    y, x = np.ix_(*(np.arange(side, dtype=np.float32) - np.float32((side - 1) / 2) for side in shape))
    from_x, from_y = cos * x - sin * y + (shape[1] - 1) / 2, sin * x + cos * y + (shape[0] - 1) / 2
    return from_x.reshape(-1, shape[1]).astype(np.float32), from_y.reshape(-1, shape[1]).astype(np.float32)


def fit_crop(match: Grey, query: Grey) -> Alignment:
    """Alignment of a query that is a part of the match, not larger than it along either axis."""
    found = cv2.matchTemplate(match, query, cv2.TM_CCOEFF_NORMED)
    y, x = np.unravel_index(int(np.nan_to_num(np.abs(found)).argmax()), found.shape)
    return np.array([[1, 0, x], [0, 1, y]], np.float32)


def refine_alignment(match: Grey, query: Grey, alignment: Alignment) -> Alignment | None:
    """An affine alignment that is better than this one, by the enhanced correlation coefficient; None if that finds none."""
    try:
        everything = np.full(match.shape, 255, np.uint8)
        _, refined = cv2.findTransformECC(query, match, alignment.copy(), cv2.MOTION_AFFINE, ECC_STEPS, everything, 3)
    except cv2.error:  # the pictures have nothing in common, or no structure
        return None
    return np.asarray(refined, np.float32) if np.isfinite(refined).all() else None


def fit_blur(plain: Grey, query: Grey) -> float:
    """Deviation in pixels of the Gaussian that makes the query of `plain`."""
    costs = _blurred_dissimilarities(plain, BLURS_PX, query)
    at = int(costs.argmin())
    near = _BLURS_NEAR[at]
    return _lowest(np.array(near), _blurred_dissimilarities(plain, near, query))


def _blurred_dissimilarities(plain: Grey, deviations_px: tuple[float, ...], query: Grey) -> NDArray[np.float32]:
    down, right = (_gaussians(deviations_px, side) for side in plain.shape)
    many = down @ plain @ right.transpose(0, 2, 1)
    return dissimilarities(many.reshape(len(deviations_px), -1).astype(np.float32, copy=False), query)


@lru_cache(maxsize=64)
def _gaussians(deviations: tuple[float, ...], side: int) -> NDArray[np.float32]:
    """Matrices (n, side, side) that blur along one axis; the outermost pixels go on beyond the border."""
    place = np.arange(side)
    from_border = np.arange(-side, 2 * side)
    kernels = [np.exp(-((place[:, None] - from_border) ** 2) / (2 * deviation**2)) for deviation in deviations]
    folded = np.stack(kernels)
    folded /= folded.sum(2, keepdims=True)
    inside = folded[:, :, side : 2 * side].copy()
    inside[:, :, 0] += folded[:, :, :side].sum(2)
    inside[:, :, -1] += folded[:, :, 2 * side :].sum(2)
    return inside.astype(np.float32)


def blurred(plain: Grey, deviation_px: float) -> Grey:
    """`plain` through a Gaussian."""
    return np.asarray(cv2.GaussianBlur(plain, (0, 0), deviation_px, borderType=cv2.BORDER_REPLICATE), np.float32)


def fit_grey_tone(plain: Grey, query: Grey) -> tuple[float, float]:
    """Factor and offset, on those pixels of the query that are neither black nor white, or else on all."""
    x, y = plain.ravel(), query.ravel()
    inside = ((y > 0.004) & (y < 0.996)).astype(np.float32)
    count = float(inside @ inside)
    if count < TONE_PIXELS_MIN:
        inside, count = np.ones_like(y), float(y.size)
    x_inside = x * inside
    x_mean, y_mean = float(x @ inside) / count, float(y @ inside) / count
    variance = float(x_inside @ x) / count - x_mean * x_mean
    factor = (float(x_inside @ y) / count - x_mean * y_mean) / max(variance, 1e-6)
    return factor, y_mean - factor * x_mean


def toned(plain: Grey, factor: float, offset: float) -> Grey:
    """factor * plain + offset, black and white where that leaves [0, 1]."""
    return _cut(plain * np.float32(factor) + np.float32(offset))


def fit_jpeg(plain: Grey, query: Grey, power_max: float) -> int:
    """The quality with which `plain` has to be saved to look like the query; 0 if a mean square above `power_max` is left."""
    grey, wanted = (_bytes(each) for each in (plain, query))

    def power(quality: int) -> float:
        return float(cv2.norm(_saved(grey, quality), wanted, cv2.NORM_L2SQR)) / (grey.size * 255**2)

    coarse = min(range(10, 96, 8), key=power)
    if power(coarse) > 2 * power_max:
        return 0
    quality = min(range(coarse - 5, min(coarse + 6, 96)), key=power)
    return quality if power(quality) <= power_max else 0


def compressed(plain: Grey, quality: int) -> Grey:
    """`plain` saved as JPEG and opened again."""
    return _saved(_bytes(plain), quality).astype(np.float32) / np.float32(255)


def _saved(grey: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    saved = cv2.imencode(".jpg", grey, (cv2.IMWRITE_JPEG_QUALITY, quality))[1]
    return np.asarray(cv2.imdecode(saved, cv2.IMREAD_GRAYSCALE), np.uint8)


def _bytes(pixels: Grey) -> NDArray[np.uint8]:
    return (pixels * np.float32(255) + np.float32(0.5)).astype(np.uint8)


def fit_noise(plain: Grey, query: Grey) -> tuple[float, Grey]:
    """Deviation of Gaussian noise that, cut at black and white, makes as large a difference; and the difference in units of
    what is to be expected of each pixel, (h, w)."""
    deviations, means, squares = _cut_moments()
    levels = np.uint8(plain * 63 + 0.5)
    share = np.bincount(levels.ravel(), minlength=64) / levels.size
    grey = np.arange(64) / 63
    powers = (squares - 2 * grey * means + grey * grey) @ share
    power = float(cv2.norm(query, plain, cv2.NORM_L2SQR)) / query.size
    deviation = float(np.interp(power, powers, deviations))
    at = int(np.searchsorted(deviations, deviation).clip(0, len(deviations) - 1))
    spread = np.sqrt(np.maximum(squares[at] - means[at] ** 2, 1e-6))
    return deviation, ((query - means[at].astype(np.float32)[levels]) / spread.astype(np.float32)[levels])


def smoothness(difference: Grey) -> float:
    """How much neighbouring pixels of a difference have in common: about 0 of noise, near 1 of a difference of shapes."""
    centred = difference - difference.mean()
    power = float(np.vdot(centred, centred))
    if power < 1e-9:
        return 0.0
    near = cv2.filter2D(centred, -1, _NEAR, borderType=cv2.BORDER_CONSTANT)
    return float(np.vdot(centred, near)) / power


def dissimilarity(one: Grey, other: Grey) -> float:
    """1 - the square of their correlation: whatever the brightness and contrast of each, inverted or not."""
    return float(dissimilarities(one.reshape(1, -1), other)[0])


def dissimilarities(many: NDArray[np.float32], one: Grey) -> NDArray[np.float32]:
    """The dissimilarity (n,) of each of (n, h * w) to one (h, w)."""
    n, other, ones = one.size, one.ravel(), _ones(one.size)
    sums, other_sum = many @ ones, float(other @ ones)
    variances = np.einsum("ij,ij->i", many, many) - sums * sums / n
    covariances = many @ other - sums * (other_sum / n)
    whole = np.maximum(variances * (float(other @ other) - other_sum * other_sum / n), 1e-6)
    return np.asarray(np.maximum(1 - covariances * covariances / whole, 0), np.float32)


@lru_cache(maxsize=64)
def _ones(n: int) -> NDArray[np.float32]:
    return np.ones(n, np.float32)


@cache
def _cut_moments() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Deviations of noise (n,), and what 64 grey values are on average with it (n, 64), cut at 0 and 1, and squared (n, 64)."""
    deviations = np.geomspace(0.002, 1.5, 120)
    deviation, grey = deviations[:, None], np.arange(64) / 63
    a, b = -grey / deviation, (1 - grey) / deviation
    below, above = (_normal(t) for t in (a, b))
    density_a, density_b = (np.exp(-t * t / 2) / np.sqrt(2 * np.pi) for t in (a, b))
    inside = above - below
    mean = grey * inside + deviation * (density_a - density_b) + (1 - above)
    square = (grey**2 + deviation**2) * inside + 2 * grey * deviation * (density_a - density_b)
    square += deviation**2 * (a * density_a - b * density_b) + (1 - above)
    return deviations, mean, square


def _cut(pixels: Any) -> Grey:
    return np.minimum(np.maximum(np.asarray(pixels, np.float32), np.float32(0)), np.float32(1))


def _normal(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of the standard normal distribution lies below each of `t`."""
    values = [0.5 * math.erfc(-each / math.sqrt(2)) for each in t.ravel().tolist()]
    return np.array(values).reshape(t.shape)


def _lowest(places: NDArray[np.float64], costs: NDArray[np.float32]) -> float:
    """Where the parabola through the lowest of evenly placed costs and its neighbours is lowest."""
    at = int(costs.argmin())
    if not 0 < at < len(places) - 1:
        return float(places[at])
    before, here, after = (float(cost) for cost in costs[at - 1 : at + 2])
    bend = before - 2 * here + after
    return float(places[at] + (places[1] - places[0]) * (0.5 * (before - after) / bend if bend > 1e-12 else 0))
