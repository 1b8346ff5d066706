"""A picture as it is compared: at a working size, with its local features, those of its parts, and a very small likeness of the whole."""

from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model.pictures.hypotheses import part_box
from model.pictures.pillow import at_most
from model.verdicts.photographs import quality
from model.verdicts.photographs.alignment import Matrix, moved
from model.verdicts.photographs.comparison import Pixels, resizing
from model.verdicts.photographs.features import Features, features
from model.verdicts.photographs.placing import Size

LIKENESS_SIDE_PX, SMALL_SIDE_PX = 32, 128
# Noise and traces of JPEG are looked for in the middle of a larger picture.
ORIGINAL_SIDE_PX_MAX = 1024


class FeatureLimits(NamedTuple):
    """The longer side at which features are looked for, at most, and how many are kept."""

    side_px: int
    kept: int


class View:
    """A picture of `size` (w, h), of which `image`, RGB, may be a thumbnail.

    Args:
        side_px: longer side of the working size, at most.
        limits: with which features are looked for.
    """

    def __init__(self, image: Image.Image, size: Size, side_px: int, limits: FeatureLimits) -> None:
        self.size = size
        self._image = image
        self._side_px = side_px
        self._limits = limits
        self._features: dict[tuple[int, int, int, int], Features] = {}

    @cached_property
    def pixels(self) -> Pixels:
        """(h, w, 3) in [0, 1], at the working size."""
        return np.asarray(at_most(self._image, self._side_px), np.float32) / np.float32(255)

    @property
    def working_size(self) -> Size:
        """(w, h)."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def to_whole(self) -> Matrix:
        """From places at the working size to places in the picture itself."""
        return resizing(self.working_size, self.size)

    def features(self, hypothesis: str = "") -> Features:
        """Of the whole, or of the part that a hypothesis names, which is looked at more closely; in places of the working size."""
        box = part_box(hypothesis, self._image.size) or (0, 0, *self._image.size)
        if box not in self._features:
            part = at_most(self._image.crop(box), self._limits.side_px)
            found = features(np.asarray(part.convert("L")), self._limits.kept)
            to_image = resizing(part.size, (box[2] - box[0], box[3] - box[1]))
            to_working = resizing(self._image.size, self.working_size)
            matrix = to_working @ np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1]]) @ to_image
            places = moved(matrix, found.places).astype(np.float32)
            frames = (found.frames * matrix[[0, 1], [0, 1]]).astype(np.float32)
            self._features[box] = Features(places, frames, found.descriptors)
        return self._features[box]

    @cached_property
    def noise(self) -> float:
        """See `quality.noise`, of the picture as large as it was given."""
        return quality.noise(self._middle())

    @cached_property
    def jpeg_quality(self) -> int:
        """See `quality.jpeg_quality`, of the picture as large as it was given."""
        return quality.jpeg_quality(_grey(self._middle()).astype(np.float32))

    def _middle(self) -> Pixels:
        """(h, w, 3) in [0, 1], the middle of the picture; whole blocks of 8 pixels are left out around it."""
        width, height = self._image.size
        left, top = (max(0, side - ORIGINAL_SIDE_PX_MAX) // 16 * 8 for side in (width, height))
        part = self._image.crop(
            (left, top, min(width, left + ORIGINAL_SIDE_PX_MAX), min(height, top + ORIGINAL_SIDE_PX_MAX))
        )
        return np.asarray(part, np.float32) / np.float32(255)

    @cached_property
    def is_whole(self) -> bool:
        """Whether the picture itself is here, and not its thumbnail."""
        return self._image.size == self.size

    @cached_property
    def small(self) -> Pixels:
        """(h, w, 3) in [0, 1], smaller than the working size."""
        scale = SMALL_SIDE_PX / max(self.working_size)
        size = tuple(max(1, round(side * scale)) for side in self.working_size)
        return np.asarray(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), np.float32)

    @property
    def to_small(self) -> Matrix:
        """From places in the picture itself to places in the small one."""
        return resizing(self.size, (self.small.shape[1], self.small.shape[0]))

    @cached_property
    def likeness(self) -> NDArray[np.float32]:
        """(32, 32) of mean 0 and length 1, whatever the shape; all 0 of a blank picture."""
        small = cv2.resize(self.pixels, (LIKENESS_SIDE_PX,) * 2, interpolation=cv2.INTER_AREA).mean(2)
        centred = small - small.mean()
        length = float(np.linalg.norm(centred))
        return np.asarray(centred / length if length > 0.05 else np.zeros_like(centred), np.float32)


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) * 255 + 0.5, np.uint8)
