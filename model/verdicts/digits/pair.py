"""A query and stored thumbnails compared as digits are: grey, at a working size, at most 96 pixels on the longer side like the thumbnails."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import RejectedError
from model.pictures.images import decode
from model.pictures.pillow import on_white
from model.verdicts.digits.explanation import explain_digit
from model.verdicts.frames import UNREADABLE, Explained, Shown

# Pictures are compared at this size, at most.
COMPARED_SIDE_PX = 96
# A query is not reduced below this, however much larger the match is.
QUERY_SIDE_PX_MIN = 24
# What WebP with quality 80 changes in a thumbnail, root mean square, as a share of white.
THUMBNAIL_LOSS = 0.015


class _Reduced(NamedTuple):
    """A picture (h, w) uint8, and how many pixels of the picture itself one of its pixels is."""

    grey: NDArray[np.uint8]
    px: float


class DigitQuery:
    """A query that is explained by matches: `image`, of a picture of `size` (w, h), of which it may be a thumbnail."""

    def __init__(self, image: Image.Image, size: tuple[int, int]) -> None:
        self._image = image
        self._query_px = max(size)

    def explained(self, match: Shown, hypothesis: str) -> Explained:
        """What the query is to a match; where it was found by a hypothesis is no matter for so small pictures."""
        del hypothesis
        try:
            picture = decode(match.image)
        except RejectedError:
            return UNREADABLE
        query_px, match_px = self._query_px, max(match.width, match.height)
        px = max(match_px, query_px, COMPARED_SIDE_PX) / COMPARED_SIDE_PX
        one = _reduced(self._image, query_px, min(px, max(1.0, query_px / QUERY_SIDE_PX_MIN)))
        other = _reduced(picture.image, match_px, px)
        loss = THUMBNAIL_LOSS if picture.media_type == "image/webp" else 0.0
        return explain_digit(one.grey, other.grey, query_px=one.px, match_px=other.px, match_loss=loss)


def _reduced(image: Image.Image, whole_px: int, px: float) -> _Reduced:
    """`image`, of a picture whose longer side is `whole_px`, with about `px` of the picture's pixels to one of its own."""
    image = on_white(image)
    scale = whole_px / px / max(image.size)
    if scale < 0.995:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    grey = np.asarray(image.convert("L"))
    return _Reduced(grey, whole_px / max(grey.shape))
