"""A query and a match laid over each other: at the coarser one's resolution, in one colour, and where they agree in detail."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from model.verdicts.photographs.alignment import Matrix, local

Pixels = NDArray[np.float32]
Mask = NDArray[np.bool_]
# Shares of red, green and blue in brightness.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)

FRAME_SIDE_PX_MAX = 288
FRAME_SIDE_PX_MIN = 12
# Both are smoothed by so much before they are compared: a part of a pixel that they are off, and noise, count for less.
SMOOTHING_PX = 0.8
# Deviation of the window in which they are to agree, as a share of the longer side.
WINDOW_SHARE, WINDOW_PX_MIN = 0.022, 2.5
# Of white: what varies less in a window shows nothing.
TEXTURE_MIN = 3.5 / 255
# A pixel differs that is so much of white off, and a window so many of which do.
DIFFERS_MIN, DIFFERS_SHARE_MIN = 0.06, 0.04
# What is darker or brighter was cut off at black or white.
DARKEST, BRIGHTEST = 3 / 255, 251 / 255
# In a window that agrees, what differs has at most this share of what both vary.
DIFFERENCE_SHARE_MAX = 0.3
# What smoothing keeps of white noise's variance, and some more, since a window is small.
NOISE_KEPT = 0.18
BLURS_TRIED_PX = (0.0, 0.5, 0.8, 1.1, 1.5, 2.0, 2.7, 3.6, 4.8, 6.4)


_NOISE_FILTER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)


class Frame(NamedTuple):
    """Both pictures where they are compared.

    Attributes:
        query, match: (h, w, 3) in [0, 1]; the match as it stands in the query.
        inside: (h, w), where the match is.
        to_query, to_match: from places in the frame to places in either picture.
    """

    query: Pixels
    match: Pixels
    inside: Mask
    to_query: Matrix
    to_match: Matrix


class Agreement(NamedTuple):
    """How well both agree where the match is.

    Attributes:
        made: (h, w, 3), the match in the query's colours and as sharp as it.
        blur_px: deviation of the blur that makes the match as blurred as the query, in the frame's pixels.
        noise: deviation of the noise in what is left, of white.
        textured, agreeing: (h, w), windows that show something, and of these those in which both show the same.
        apart: those that do not agree since pixels differ, and not only because the query is a bad copy.
        differs: (h, w), pixels that differ by more than noise.
        share: of the textured, those that are not apart.
        worse: of the textured, those that do not agree.
        detail: correlation of what is fine in both.
        residual: root of the mean square of what differs in the textured windows, by that of the match's variation.
    """

    made: Pixels
    blur_px: float
    noise: float
    textured: Mask
    agreeing: Mask
    apart: Mask
    differs: Mask
    share: float
    worse: float
    detail: float
    residual: float


def frame(query: Pixels, match: Pixels, to_match: Matrix) -> Frame | None:
    """The query reduced as far as the match is coarser, and the match laid over it; None where too little is left."""
    height, width = query.shape[:2]
    scale = _scale(to_match, (width, height))
    size_px = max(width, height) * min(1.0, scale, FRAME_SIDE_PX_MAX / max(width, height))
    factor = size_px / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if min(size) < FRAME_SIDE_PX_MIN:
        return None
    reduced = query if factor == 1 else cv2.resize(query, size, interpolation=cv2.INTER_AREA)
    to_query = resizing(size, (width, height))
    whole = to_match @ to_query
    left = scale / factor
    if left > 1.1:
        match = smoothed(match, 0.45 * float(np.sqrt(left**2 - 1)))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    laid = cv2.warpPerspective(match, whole, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = _inside(whole, size, (match.shape[1], match.shape[0]))
    if np.count_nonzero(inside) < FRAME_SIDE_PX_MIN**2:
        return None
    return Frame(np.clip(reduced, 0, 1), np.clip(laid, 0, 1), inside, to_query, whole)


def resizing(size: tuple[int, int], other: tuple[int, int]) -> Matrix:
    """From places in a picture of one size (w, h) to the same places where it has the other."""
    x, y = other[0] / size[0], other[1] / size[1]
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def agreement(laid: Frame, toned: Pixels) -> Agreement:
    """How well both agree, `toned` being the match in the query's colours."""
    query, inside = smoothed(laid.query, SMOOTHING_PX), eroded(laid.inside)
    blur_px, made = _as_blurred(smoothed(toned, SMOOTHING_PX), query, inside)
    window = max(WINDOW_PX_MIN, WINDOW_SHARE * max(inside.shape))
    weight = _averaged(inside.astype(np.float32), window)
    difference = query - made
    left, of_query, of_made = (_variance(each, inside, weight, window) for each in (difference, query, made))
    noise = _noise(laid.query - toned, inside)
    left = np.maximum(left - NOISE_KEPT * noise**2, 0)
    varies = np.maximum(of_query - NOISE_KEPT * noise**2, 0) + of_made
    textured = inside & (varies > 2 * TEXTURE_MIN**2) & ~_is_cut_off(laid.query, made)
    agreeing = textured & (left < DIFFERENCE_SHARE_MAX * varies)
    differs = inside & _differs(query, made, noise)
    apart = textured & ~agreeing & (_averaged(differs.astype(np.float32), window) > DIFFERS_SHARE_MIN)
    count = int(np.count_nonzero(textured))
    share = 1 - int(np.count_nonzero(apart)) / count if count else 0.0
    worse = 1 - int(np.count_nonzero(agreeing)) / count if count else 1.0
    kept = agreeing if agreeing.any() else textured
    residual = float(np.sqrt(left[kept].mean() / max(float(of_made[kept].mean()), 1e-6))) if kept.any() else 1.0
    return Agreement(
        made, blur_px, noise, textured, agreeing, apart, differs, share, worse, _detail(laid, inside), residual
    )


def unclipped(pixels: Pixels) -> Mask:
    """Where a picture (h, w, 3) is neither black nor white in any colour, nor beside that."""
    is_cut = np.asarray(((pixels < DARKEST) | (pixels > BRIGHTEST)).any(2), np.uint8)
    return np.asarray(cv2.dilate(is_cut, np.ones((3, 3), np.uint8)) == 0)


def _is_cut_off(query: Pixels, made: Pixels) -> Mask:
    """Where the query is black or white because the match was made darker or brighter."""
    bright = (query > BRIGHTEST) & (made > BRIGHTEST - 0.15)
    dark = (query < DARKEST) & (made < DARKEST + 0.15)
    return np.asarray((bright | dark).any(2))


def _differs(query: Pixels, made: Pixels, noise: float) -> Mask:
    """Pixels that differ by more than noise, and more than a part of a pixel that they are off makes of an edge."""
    off = max_of(np.abs(query - made))
    edge = max_of(np.asarray(np.abs(cv2.Laplacian(made, -1)), np.float32))
    return np.asarray(off > DIFFERS_MIN + 2 * noise + edge)


def smoothed(pixels: Pixels, deviation_px: float) -> Pixels:
    """Through a Gaussian."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), deviation_px, borderType=cv2.BORDER_REFLECT_101), np.float32)


def mean_of(pixels: Pixels) -> Pixels:
    """(h, w) of (h, w, 3)."""
    return np.asarray((pixels[..., 0] + pixels[..., 1] + pixels[..., 2]) * np.float32(1 / 3))


def max_of(pixels: Pixels) -> Pixels:
    """(h, w) of (h, w, 3)."""
    return np.maximum(np.maximum(pixels[..., 0], pixels[..., 1]), pixels[..., 2])


def eroded(mask: Mask, by_px: int = 2) -> Mask:
    """Without what lies at its edge; the picture's own edge is none."""
    kernel = np.ones((2 * by_px + 1,) * 2, np.uint8)
    return np.asarray(cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_REPLICATE), bool)


def _as_blurred(made: Pixels, query: Pixels, inside: Mask) -> tuple[float, Pixels]:
    """The deviation of the blur after which the match differs least from the query in most places, and the match so blurred."""
    grey, wanted, weight = mean_of(made), mean_of(query), inside.astype(np.float32)
    lefts = []
    for blur_px in BLURS_TRIED_PX:
        tried = grey if not blur_px else smoothed(grey, blur_px)
        off = cv2.min(cv2.absdiff(tried, wanted), np.full_like(grey, 0.15))
        lefts.append(float(np.vdot(off, weight)))
    at = int(np.argmin(lefts))
    if at == 0 or lefts[at] > 0.99 * lefts[0]:
        return 0.0, made
    blur_px = _lowest(BLURS_TRIED_PX, lefts, at)
    return blur_px, smoothed(made, blur_px)


def _lowest(amounts: tuple[float, ...], costs: list[float], at: int) -> float:
    """Where a parabola through the lowest of the costs and its neighbours is lowest."""
    if not 0 < at < len(amounts) - 1:
        return amounts[at]
    x, y = np.array(amounts[at - 1 : at + 2]), costs[at - 1 : at + 2]
    square, linear, _ = np.polyfit(x, y, 2)
    return float(np.clip(-linear / (2 * square), x[0], x[2])) if square > 0 else amounts[at]


def _variance(pixels: Pixels, inside: Mask, weight: Pixels, window: float) -> Pixels:
    """In a window around each place, over what is inside: the mean over the channels."""
    masked = pixels * inside[..., None]
    below = np.maximum(weight, 1e-3)[..., None]
    mean = _averaged(masked, window) / below
    square = _averaged(masked * pixels, window) / below
    return np.asarray(np.maximum(mean_of(np.asarray(square - mean * mean, np.float32)), 0), np.float32)


def _averaged(pixels: Pixels, window: float) -> Pixels:
    """The mean in a square window of that deviation."""
    side = 2 * round(1.73 * window) + 1
    return np.asarray(cv2.blur(pixels, (side, side), borderType=cv2.BORDER_REFLECT_101), np.float32)


def _noise(difference: Pixels, inside: Mask) -> float:
    """Deviation of white noise, by what is left of it under a filter that takes away slopes and edges (Immerkær 1996)."""
    filtered = cv2.filter2D(difference, -1, _NOISE_FILTER, borderType=cv2.BORDER_REFLECT_101)[inside]
    return float(np.median(np.abs(filtered))) / (0.6745 * 6)


def _detail(laid: Frame, inside: Mask) -> float:
    """Correlation of both without what is coarse."""
    fine = []
    for pixels in (laid.query, laid.match):
        grey = mean_of(pixels)
        fine.append((smoothed(grey, 0.6) - smoothed(grey, 2.0))[inside])
    one, other = (each - each.mean() for each in fine)
    whole = float(np.sqrt(np.vdot(one, one) * np.vdot(other, other)))
    return float(np.vdot(one, other)) / whole if whole > 1e-9 else 0.0


def _scale(matrix: Matrix, size: tuple[int, int]) -> float:
    """Pixels of the match to one of the query, in its middle."""
    return float(np.sqrt(abs(np.linalg.det(local(matrix, (np.array(size) - 1) / 2)))))


def _inside(matrix: Matrix, size: tuple[int, int], match_size: tuple[int, int]) -> Mask:
    """Where the frame shows the match."""
    whole = np.ones(match_size[::-1], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpPerspective(whole, matrix, size, flags=flags, borderValue=0) > 0.99)
