"""Any picture of a digit to the pixels that this encoder was trained on: white on black, centred, 28 x 28."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

SIDE_PX = 28
DIGIT_PX = 20
# Long enough for thin strokes to stay visible, short enough to be cheap.
WORKING_SIDE_PX = 280


def pixels(image: Image.Image) -> NDArray[np.float32]:
    """Pixels (28, 28, 1) float32 in [0, 1].

    Args:
        image: mode L, RGB or RGBA; transparent pixels show white. A 28 x 28 picture on a dark ground is taken as it is;
            anything else is inverted if its border is bright, freed of uneven light, cropped to its ink, scaled to 20
            pixels and centred by its mass, as MNIST was made.
    """
    grey = _grey(image)
    if grey.size == (SIDE_PX, SIDE_PX):
        plain = np.asarray(grey, np.float32) / np.float32(255)
        return (1 - plain if _border(plain) > 0.5 else plain)[..., None]
    grey.thumbnail((WORKING_SIDE_PX, WORKING_SIDE_PX), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return _centred(_ink(grey))[..., None]


def _grey(image: Image.Image) -> Image.Image:
    if image.mode == "RGBA":
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("L")


def _border(plain: NDArray[np.float32]) -> float:
    edges = np.concatenate([plain[0], plain[-1], plain[1:-1, 0], plain[1:-1, -1]])
    return float(np.median(edges))


def _ink(grey: Image.Image) -> NDArray[np.float32]:
    """Ink (h, w) in [0, 1], 0 on the ground, with uneven light taken away."""
    plain = np.asarray(grey, np.float32) / np.float32(255)
    if _border(plain) > 0.5:
        plain = 1 - plain
        grey = Image.fromarray(np.uint8(plain * 255))
    side = max(3, max(grey.size) // 8)
    # The ground: the darkest nearby, smoothed; it follows shadows and gradients, and a stroke is narrower than the window.
    ground = grey.resize((max(1, grey.width // 4), max(1, grey.height // 4)), Image.Resampling.BOX)
    ground = ground.filter(ImageFilter.MinFilter(max(3, side // 4 * 2 + 1))).filter(ImageFilter.GaussianBlur(side / 4))
    lifted = plain - np.asarray(ground.resize(grey.size, Image.Resampling.BICUBIC), np.float32) / 255
    strongest = float(np.percentile(lifted, 99.5))
    if strongest <= 0.02:
        return np.zeros_like(plain)
    ink = np.clip(lifted / strongest, 0, 1)
    threshold = 0.35
    cleaned: NDArray[np.float32] = np.clip((ink - threshold) / (0.8 - threshold), 0, 1)
    return cleaned


def _centred(ink: NDArray[np.float32]) -> NDArray[np.float32]:
    """The ink's bounding box scaled to 20 pixels, its centre of mass in the middle of 28 x 28."""
    canvas = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    rows, columns = np.flatnonzero((ink > 0.5).any(1)), np.flatnonzero((ink > 0.5).any(0))
    if not len(rows):
        return canvas
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = DIGIT_PX / max(box.shape)
    size = (max(1, round(box.shape[1] * scale)), max(1, round(box.shape[0] * scale)))
    small = Image.fromarray(np.uint8(box * 255)).resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    )
    digit = np.asarray(small, np.float32) / 255
    mass = max(float(digit.sum()), 1e-6)
    top = round(SIDE_PX / 2 - 0.5 - float((digit.sum(1) @ np.arange(digit.shape[0])) / mass))
    left = round(SIDE_PX / 2 - 0.5 - float((digit.sum(0) @ np.arange(digit.shape[1])) / mass))
    top = min(max(top, 0), SIDE_PX - digit.shape[0])
    left = min(max(left, 0), SIDE_PX - digit.shape[1])
    canvas[top : top + digit.shape[0], left : left + digit.shape[1]] = digit
    return canvas
