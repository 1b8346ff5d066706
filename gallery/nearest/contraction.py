"""A contraction: a map to m numbers under which no two embeddings move apart, so that its distances are lower bounds.

An embedding is moved to a centre, measured in `unit`s, drawn into a ball of `RADIUS` units, and turned to its principal
axes. The first m - 1 coordinates stay and the rest is replaced by its norm. None of these steps stretches a distance, nor does
clamping a coordinate. The tree has 32 coordinates in fine units, approximations one for each number of an embedding in coarse ones.

**The margin.** In float64 the steps are not quite exact. Everything lies in the ball, so an image is off by at most
    sqrt(m) · d · 2⁻⁵³ · RADIUS   summing d products of a unit axis with the offset, for each of m coordinates
  + ORTHOGONAL · RADIUS           the axes are not quite orthonormal, which is checked when they are loaded,
together less than sqrt(512) · 512 · 2⁻⁵³ · RADIUS + ORTHOGONAL · RADIUS = 3.9e-5 units for d, m <= 512. Two images are off by
twice that. `SLACK`, 1e-3 units, is ten times as much, and is taken off every bound. A unit is 1/5,000 or 1/200 of how far
embeddings lie apart, so the slack costs nothing; that outliers and the size of the numbers cannot widen it is what the ball is for.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

COORDINATES = 32  # of the tree: 31 along principal axes, and the norm of the rest
CODE_MAX = 8191  # of a coordinate in the tree's codes; 32 · 8191² < 2³¹
BYTE_MAX = 255  # the same where a code is a byte; 512 · 255² < 2³¹
RADIUS = 2.0**24
ORTHOGONAL = 1e-12
SLACK = 1e-3
_SAMPLE = 50_000


@dataclass(frozen=True)
class Contraction:
    """The map, in float64.

    Attributes:
        centre: (d,), the median of each dimension, which outliers do not move.
        axes: (m, d), orthonormal rows and, in the places that d does not fill, zeros; the last one is always zero.
        low: (m,), units; where the codes' box begins. A code is the place in that box, clamped, in whole units.
        unit: length of a unit.
        code_max: of a coordinate in a code.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    unit: float
    code_max: int = CODE_MAX

    def apply(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Coordinates (n, m) in units of embeddings (n, d) float32 or float64; the last one is the norm of the rest."""
        offsets = (embeddings.astype(np.float64) - self.centre) / self.unit
        norms = np.sqrt((offsets * offsets).sum(1))
        offsets *= (RADIUS / np.maximum(norms, RADIUS))[:, None]
        images = offsets @ self.axes.T
        rest = offsets - images @ self.axes
        images[:, -1] = np.sqrt((rest * rest).sum(1))
        return images

    def codes(self, images: NDArray[np.float64]) -> NDArray[np.int16]:
        """Codes (n, m) int16 in [0, `code_max`] of what `apply` returned."""
        return np.rint(np.clip(images - self.low, 0, self.code_max)).astype(np.int16)

    def in_bytes(self) -> "Contraction":
        """The same map in units so coarse that a code is a byte."""
        coarser = (self.code_max + 1) / (BYTE_MAX + 1)
        low = self.low / coarser
        low.flags.writeable = False  # as the other arrays; numba compiles for each kind
        return replace(self, low=low, unit=self.unit * coarser, code_max=BYTE_MAX)

    @property
    def arguments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float, float, float]:
        """What the compiled search takes of it: centre, axes, low, unit, radius, slack."""
        return self.centre, self.axes, self.low, self.unit, RADIUS, SLACK

    @property
    def is_sound(self) -> bool:
        """Whether the margin holds for these numbers."""
        m = len(self.axes)
        arrays_fit = self.axes.shape == (m, len(self.centre)) and self.low.shape == (m,)
        if not (
            arrays_fit and 0 < self.unit < np.inf and np.isfinite(self.centre).all() and np.isfinite(self.low).all()
        ):
            return False
        if not np.abs(self.axes).max() <= 1 + ORTHOGONAL:
            return False
        products = self.axes @ self.axes.T
        expected = np.diag(np.arange(m) < min(m - 1, len(self.centre))).astype(np.float64)
        return bool(np.linalg.norm(products - expected) <= ORTHOGONAL)


def fit_contraction(
    embeddings: NDArray[np.float32], coordinates: int = COORDINATES, code_max: int = CODE_MAX, margin: float = 0.25
) -> Contraction:
    """The contraction for these embeddings (n, d), n >= 1, finite, from an even sample of them.

    Args:
        margin: how much room codes have beyond the sample on either side, as a share of its width.
    """
    n, d = embeddings.shape
    sample = embeddings[:: -(-n // _SAMPLE)].astype(np.float64)
    centre = np.median(sample, axis=0)
    offsets = sample - centre
    scale = float(np.abs(offsets).max()) or 1.0
    offsets /= scale  # so that squares neither overflow nor vanish
    squares = (offsets * offsets).sum(1)
    inner = offsets[squares <= np.quantile(squares, 0.99)]  # a few outliers must not turn the axes
    vectors = np.linalg.eigh(inner.T @ inner)[1][:, ::-1][:, : coordinates - 1]
    axes = np.zeros((coordinates, d))
    axes[: min(d, coordinates - 1)] = np.linalg.qr(vectors)[0].T
    images = Contraction(centre, axes, np.zeros(coordinates), scale).apply(sample)
    low, high = np.quantile(images, [0.001, 0.999], axis=0)
    spread = float((high - low).max()) * scale
    unit = spread * (1 + 2 * margin) / code_max if spread > 0 else scale
    return Contraction(centre, axes, (low - margin * (high - low)) * (scale / unit), unit, code_max)
