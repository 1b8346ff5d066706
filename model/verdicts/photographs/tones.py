"""What was done to a picture's colours: one map of red, green and blue for all pixels, and what people call it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.verdicts.frames import Edit
from model.verdicts.photographs.comparison import BRIGHTEST, DARKEST, LUMA, Mask, Pixels

SAMPLES_MAX = 1200
# A map has to make the picture so much more like the query, of white.
NOTHING_GAIN = 0.001
FIT_ROUNDS = 4
# Less than this nobody sees, or is what storing does.
_BRIGHTNESS_MIN, _CONTRAST_MIN, SATURATION_MIN, HUE_DEG_MIN, CAST_MIN = 0.03, 0.06, 0.12, 6.0, 0.025
GREY_MAX = 2.5 / 255
COLOURED_MIN = 6 / 255


class Tone(NamedTuple):
    """A map of colours: `factors` (3, 3) times the match's, plus `offsets` (3,)."""

    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]

    def of(self, pixels: Pixels) -> Pixels:
        """The pixels (h, w, 3) in these colours."""
        made = pixels @ self.factors.T.astype(np.float32) + self.offsets.astype(np.float32)
        return np.clip(made, 0, 1)


def fit_tone(query: Pixels, match: Pixels, inside: Mask, known: Mask) -> Tone:
    """The map after which the match comes nearest to the query in most of the pixels inside; fitted to those that are known."""
    wanted, given = _sampled(query[known]), _sampled(match[known])
    lifted = np.c_[given, np.ones(len(given))]
    weights = np.asarray(((wanted > DARKEST) & (wanted < BRIGHTEST)).all(1), np.float64)
    if weights.sum() < 30:
        weights = np.ones(len(given))
    cut = weights
    ridge = 1e-4 * len(given) * np.diag([1.0, 1.0, 1.0, 1e-3])
    sign = _sign(wanted, given)
    start = np.vstack([np.eye(3) * sign, np.full(3, 0.5 - sign / 2)])
    solved = start
    for _ in range(FIT_ROUNDS):
        weighted = lifted * weights[:, None]
        solved = np.linalg.solve(lifted.T @ weighted + ridge, weighted.T @ wanted + ridge @ start)
        off = np.asarray(np.linalg.norm(lifted @ solved - wanted, axis=1))
        spread = max(2.0 * float(np.median(off[cut > 0])), 4 / 255)
        weights = cut / (1 + (off / spread) ** 2) ** 2
    tone, none = Tone(solved[:3].T, solved[3]), Tone(start[:3].T, start[3])
    wanted, given = _sampled(query[inside]), _sampled(match[inside])
    return none if _left(none, wanted, given) < _left(tone, wanted, given) + NOTHING_GAIN else tone


def _left(tone: Tone, wanted: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    """By how much colours are off, of white; those that have nothing to do with each other count little."""
    made = np.clip(given @ tone.factors.T + tone.offsets, 0, 1)
    return float(np.minimum(np.abs(made - wanted).mean(1), 0.1).mean())


def tone_edits(tone: Tone, query: Pixels, match: Pixels, inside: Mask) -> list[Edit]:
    """The map in words: negative, grey, brightness, contrast and colour, each where it can be seen."""
    wanted, given = _sampled(query[inside]), _sampled(match[inside])
    made = given @ tone.factors.T + tone.offsets
    done: list[Edit] = []
    grey = float(LUMA @ tone.factors.sum(1))
    if grey < 0:
        done.append(Edit("inversion", 1.0, ""))
        given, grey = 1 - given, -grey
    is_grey = float(np.percentile(np.ptp(wanted, axis=1), 95)) < GREY_MAX * 2
    was_coloured = float(np.percentile(np.ptp(given, axis=1), 90)) > COLOURED_MIN
    if is_grey and was_coloured:
        done.append(Edit("grey", 1.0, ""))
    done += _light(wanted, given, made)
    if not is_grey and was_coloured:
        done += _colour(made, given)
    return done


def _light(wanted: NDArray[np.float64], given: NDArray[np.float64], made: NDArray[np.float64]) -> list[Edit]:
    """Brightness as a factor, where black stayed black; else contrast about the mean, and by how much the mean moved."""
    one, other = given @ LUMA, made @ LUMA
    shown = np.asarray((wanted > DARKEST).all(1) & (wanted < BRIGHTEST).all(1))
    if np.count_nonzero(shown) < 30:
        shown[:] = True
    one, other = one[shown], other[shown]
    variance = float(one.var())
    slope = (
        float(np.mean((one - one.mean()) * (other - other.mean()))) / max(variance, 1e-6) if variance > 1e-5 else 1.0
    )
    offset = float(other.mean() - slope * one.mean())
    moved_by = slope * float((given @ LUMA).mean()) + offset - float((given @ LUMA).mean())
    if abs(slope - 1) <= _CONTRAST_MIN and abs(moved_by) <= _BRIGHTNESS_MIN:
        return []
    if abs(offset) < 0.03 + 0.06 * abs(slope - 1):
        return [Edit("brightness", slope, "×")]
    told: list[Edit] = []
    if abs(slope - 1) > _CONTRAST_MIN:
        told.append(Edit("contrast", slope, "×"))
    if abs(moved_by) > _BRIGHTNESS_MIN + 0.05 * abs(slope - 1):
        told.append(Edit("brightness", moved_by, "of white"))
    return told


def _colour(made: NDArray[np.float64], given: NDArray[np.float64]) -> list[Edit]:
    """How colours turned on the wheel, how strong they became, or the cast that lies over all."""
    one, other = _chroma(given), _chroma(made)
    mean_one, mean_other = one.mean(), other.mean()
    light = max(float((made @ LUMA).std()) / max(float((given @ LUMA).std()), 1e-3), 0.05)
    power = float(np.mean(np.abs(one) ** 2))
    factor = complex(np.mean(other * one.conj())) / max(power, 1e-6)
    told: list[Edit] = []
    angle = float(np.degrees(np.angle(factor)))
    if abs(angle) > HUE_DEG_MIN and power > 1e-4:
        told.append(Edit("hue", angle, "°"))
    elif abs(abs(factor) / light - 1) > SATURATION_MIN and power > 1e-4:
        told.append(Edit("colour", abs(factor) / light, "×"))
    elif abs(mean_other - factor * mean_one) > CAST_MIN:
        told.append(Edit("cast", float(abs(mean_other - factor * mean_one)), "of white"))
    return told


def _chroma(colours: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Colours (n, 3) as places on the wheel, red at 0°, counter-clockwise to green."""
    red, green, blue = colours.T
    return np.asarray((red - (green + blue) / 2) + 1j * np.sqrt(0.75) * (green - blue))


def _sign(wanted: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    one, other = (each @ LUMA for each in (wanted, given))
    return -1.0 if float(np.mean((one - one.mean()) * (other - other.mean()))) < 0 else 1.0


def _sampled(pixels: Pixels) -> NDArray[np.float64]:
    step = max(1, len(pixels) // SAMPLES_MAX)
    return pixels[::step].astype(np.float64)
