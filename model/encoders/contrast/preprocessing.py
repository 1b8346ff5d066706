"""Any picture of a digit to the pixels that this encoder was trained on: white on black, centred, 28 x 28."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 28
DIGIT_PX = 20
# Enough for a digit that fills a tenth of the photograph's side.
WORKING_SIDE_PX = 280
LIGHT_SIDE_PX = 40
# Fainter than this the darkest or brightest spot is no ink, only noise.
CONTRAST_MIN = 0.06
# In a large picture a pixel counts as ink from EDGE_LOW of the strongest ink on, fully from EDGE_HIGH: pens are opaque, blur is not.
EDGE_LOW, EDGE_HIGH = 0.35, 0.8
# Pixels that differ by less are equal but for the noise of lossy files.
FLAT = 0.02


def pixels(image: Image.Image) -> NDArray[np.float32]:
    """Pixels (28, 28, 1) float32 in [0, 1].

    Args:
        image: mode L, RGB or RGBA; transparent pixels show white. A 28 x 28 picture is taken as it is, inverted if its
            border is bright. Anything else is freed of uneven light, cropped to its ink, whether that is darker or
            brighter than the ground, scaled to 20 pixels and centred by its mass, as MNIST was made.
    """
    if image.size == (SIDE_PX, SIDE_PX):
        plain = np.frombuffer(_grey(image).tobytes(), np.uint8).reshape(SIDE_PX, SIDE_PX, 1)
        is_bright = _border_sum(plain) > 127 * 4 * (SIDE_PX - 1)
        return (255 - plain if is_bright else plain).astype(np.float32) / np.float32(255)
    scale = min(1.0, WORKING_SIDE_PX / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return _centred(_ink(_grey(small)))[..., None]


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "L" else image.convert("L")


def _border_sum(plain: NDArray[np.uint8]) -> int:
    return int(plain.sum(dtype=np.int64) - plain[1:-1, 1:-1].sum(dtype=np.int64))


def _ink(grey: Image.Image) -> NDArray[np.float32]:
    """Ink (h, w) in [0, 1], 0 on the ground and 1 where it is strongest, be it darker or brighter than the ground."""
    plain = np.asarray(grey, np.float32) / np.float32(255)
    # Ink reflects a share of the light that falls on it, so it is that share which is even, not the difference.
    contrast = plain / np.maximum(_ground(grey, plain), 0.1)
    contrast -= np.float32(1)
    if float(np.mean(contrast**3)) < 0:  # ink covers less than the ground does, and differs more
        contrast = -contrast
    strongest = float(np.percentile(contrast, 99.5))
    if strongest < CONTRAST_MIN:
        return np.zeros_like(plain)
    ink: NDArray[np.float32] = np.clip(contrast / np.float32(strongest), 0, 1)
    return ink


def _ground(grey: Image.Image, plain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness (h, w) in [0, 1] that the picture would have without ink.

    One number where most of the picture shares it. Otherwise a smooth surface through what is not ink: fitted, then fitted
    again without what lies far from it.
    """
    edge = np.median(np.concatenate([plain[0], plain[-1], plain[:, 0], plain[:, -1]]))
    if np.mean(np.abs(plain - edge) < FLAT) > 0.4:
        return np.full_like(plain, edge)
    small_size = (min(grey.width, LIGHT_SIDE_PX), min(grey.height, LIGHT_SIDE_PX))
    small = np.asarray(grey.resize(small_size, Image.Resampling.BOX), np.float32) / np.float32(255)
    terms, values = _terms(small.shape), small.ravel()
    is_ground = np.ones(values.shape, bool)
    for _ in range(5):
        light = np.linalg.lstsq(terms[is_ground], values[is_ground], rcond=None)[0]
        distance = np.abs(values - terms @ light)
        is_ground = distance <= 2.5 * np.median(distance) + 0.01
    ground: NDArray[np.float32] = (_terms(plain.shape) @ light).reshape(plain.shape)
    return ground


def _terms(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What a smooth surface over (h, w) is a sum of: (h * w, 6) float32."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)


def _centred(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ink's bounding box scaled to 20 pixels, its centre of mass in the middle of 28 x 28."""
    canvas = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    rows, columns = np.flatnonzero((ink > 0.5).any(1)), np.flatnonzero((ink > 0.5).any(0))
    if not len(rows):
        return canvas
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = DIGIT_PX / max(box.shape)
    if scale < 0.5:  # below that, greys are what is left of the shape
        box = np.clip((box - EDGE_LOW) / (EDGE_HIGH - EDGE_LOW), 0, 1)
    size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
    resampling = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    digit = np.asarray(Image.fromarray(np.uint8(box * 255)).resize(size, resampling), np.float32) / np.float32(255)
    place = tuple(_start(digit.sum(1 - axis)) for axis in (0, 1))
    canvas[place[0] : place[0] + digit.shape[0], place[1] : place[1] + digit.shape[1]] = digit
    return canvas


def _start(profile: NDArray[np.float32]) -> int:
    """Where (n,) ink along one axis begins, so that its centre of mass is in the middle and all of it inside."""
    centre = float(profile @ np.arange(len(profile), dtype=np.float32)) / max(float(profile.sum()), 1e-6)
    return min(max(round((SIDE_PX - 1) / 2 - centre), 0), SIDE_PX - len(profile))
