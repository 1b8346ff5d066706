"""The explainer child's program: decodes a query and stored thumbnails and explains one by the others; `model.verdicts.child` starts it.

Pictures are compared at a working size, at most 96 pixels on the longer side like the thumbnails, so that an explanation costs the
same whatever the pictures' sizes.
"""

import sys
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import RejectedError
from model.pictures.child import Shown
from model.pictures.confined import ended_when_out_of_memory, limit_cpu, samples, serve
from model.pictures.images import decode
from model.verdicts.child import Comparison, Explained
from model.verdicts.explanation import explain

# Pictures are compared at this size, at most.
WORKING_SIDE_PX = 96
# A large query is first reduced by a whole number, as long as its shorter side keeps so many pixels.
QUERY_SIDE_PX_MAX = 8 * WORKING_SIDE_PX
# A query is not reduced below this, however much larger the match is.
QUERY_SIDE_PX_MIN = 24
# What WebP with quality 80 changes in a thumbnail, root mean square, as a share of white.
THUMBNAIL_LOSS = 0.015
_UNREADABLE = Explained("", [], [], 0.0, 0.0)


class _Reduced(NamedTuple):
    """A picture (h, w) uint8, and how many pixels of the picture itself one of its pixels is."""

    grey: NDArray[np.uint8]
    px: float


def main(descriptor: int, cpu_limit_s: float, memory_limit_bytes: int) -> None:
    """Answer frames until the parent closes its end."""
    cv2.setNumThreads(1)
    _warm_up()
    serve(descriptor, memory_limit_bytes, Comparison, lambda asked: _answer(asked, cpu_limit_s))


def _answer(asked: Comparison, cpu_limit_s: float) -> list[Explained]:
    if not asked.matches:
        return []
    limit_cpu(cpu_limit_s)
    measured = partial(limit_cpu, cpu_limit_s)
    try:
        query = decode(
            asked.query.image, picture_side_px=QUERY_SIDE_PX_MAX, accept_truncated=True, when_measured=measured
        ).image
    except RejectedError:
        return [_UNREADABLE] * len(asked.matches)
    explained = []
    for match in asked.matches:
        limit_cpu(cpu_limit_s)
        explained.append(_explained(query, max(asked.query.width, asked.query.height), match))
    limit_cpu(0)
    return explained


def _explained(query: Image.Image, query_px: int, match: Shown) -> Explained:
    """Explain a query whose longer side has `query_px` pixels, of which `query` may be a thumbnail."""
    try:
        picture = decode(match.image)
    except RejectedError:
        return _UNREADABLE
    match_px = max(match.width, match.height)
    px = max(match_px, query_px, WORKING_SIDE_PX) / WORKING_SIDE_PX
    one = _reduced(query, query_px, min(px, max(1.0, query_px / QUERY_SIDE_PX_MIN)))
    other = _reduced(picture.image, match_px, px)
    loss = THUMBNAIL_LOSS if picture.media_type == "image/webp" else 0.0
    told = explain(one.grey, other.grey, query_px=one.px, match_px=other.px, match_loss=loss)
    alignment = [] if told.alignment is None else told.alignment.tolist()
    return Explained(told.verdict, [(*edit,) for edit in told.edits], alignment, told.residual, told.confidence)


def _reduced(image: Image.Image, whole_px: int, px: float) -> _Reduced:
    """`image`, of a picture whose longer side is `whole_px`, with about `px` of the picture's pixels to one of its own."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    scale = whole_px / px / max(image.size)
    if scale < 0.995:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    grey = np.asarray(image.convert("L"))
    return _Reduced(grey, whole_px / max(grey.shape))


def _warm_up() -> None:
    """Load Pillow's plugins and fill tables, so that neither counts as a query's time or memory."""
    for sample in samples():
        explained = _explained(decode(sample).image.rotate(5), 40, Shown(sample, 40, 40))
        assert explained.verdict


if __name__ == "__main__":
    ended_when_out_of_memory(lambda: main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
