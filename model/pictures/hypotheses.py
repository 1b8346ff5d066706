"""What a query may be beside itself: turned, mirrored, negative, or a part of it; and how what each of them found becomes one answer.

Pure functions. The decoder's child makes the pictures; the API and the evaluation of encoders search them together.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from model.pictures.pillow import at_most

WHOLE = "whole"
_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_PART_PERCENTS = (65, 40)
_PLACES_PERCENT = (0, 50, 100)
_PARTS = tuple((size, x, y) for size in _PART_PERCENTS for y in _PLACES_PERCENT for x in _PLACES_PERCENT)
NAMES = (
    WHOLE,
    *(f"turned-{degrees}" for degrees in _TURNS),
    "mirrored",
    "negative",
    *(f"part-{size}-{x}-{y}" for size, x, y in _PARTS),
)
# Every part still has the pixels that encoders look at, and 23 copies of a photo of 50 Mpx would not fit the child's memory.
HYPOTHESIS_SIDE_PX = 768
# By how much nearer than the whole query another hypothesis must be, as a share of the length of the whole query's embedding: among
# many hypotheses one is near something by chance. Of the hard copies of 30 photographs `photo` finds .731 by the whole alone, with
# the others .833 without margins, .856 with .1 of parts and .08 of the rest, .858 with .15 and .08, .802 with .3 and .03.
PART_MARGIN = 0.12
OTHER_MARGIN = 0.08


def hypotheses(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """Each of `NAMES` with its picture, in their order; the whole is the image itself, the others are made of a smaller copy.

    ``turned-90`` is turned by 90 degrees against the clock; ``part-65-0-100`` has 65 % of both sides and lies as far left and as far
    down as it can.
    """
    yield WHOLE, image
    small = at_most(image, HYPOTHESIS_SIDE_PX, reducing_gap=3.0)
    for degrees, turn in _TURNS.items():
        yield f"turned-{degrees}", small.transpose(turn)
    yield "mirrored", ImageOps.mirror(small)
    yield "negative", _negative(small)
    for name in NAMES:
        if (box := part_box(name, small.size)) is not None:
            yield name, small.crop(box)


def part_box(hypothesis: str, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Where in a picture (w, h) the part lies that a hypothesis names: left, top, right, bottom; None if it names no part."""
    if not hypothesis.startswith("part-"):
        return None
    percent, x, y = (int(number) for number in hypothesis.split("-")[1:])
    width, height = (max(1, side * percent // 100) for side in size)
    left, top = (size[0] - width) * x // 100, (size[1] - height) * y // 100
    return left, top, left + width, top + height


def search_together(
    embeddings: Mapping[str, NDArray[np.float32]],
    search: Callable[[NDArray[np.float32]], Iterable[Sequence[tuple[float, str]]]],
    k: int,
    max_distance: float | None = None,
) -> list[tuple[str, float, str]]:
    """What ``effort=thorough`` answers: id, distance and hypothesis of the k nearest to any hypothesis, its margin included.

    Args:
        embeddings: (d,) by hypothesis, the whole among them.
        search: from embeddings (h, d) to the k nearest of each as (distance, id).
        max_distance: leave out what is farther away, its margin included.
    """
    found = dict(zip(embeddings, search(np.stack(list(embeddings.values()))), strict=True))
    return merge(found, margins(embeddings[WHOLE]), k, max_distance)


def margins(whole: NDArray[np.float32]) -> dict[str, float]:
    """What is added to the distances that each of `NAMES` finds, given the embedding of the whole query."""
    length = float(np.linalg.norm(whole))
    return {name: length * _margin_share(name) for name in NAMES}


def merge(
    found: Mapping[str, Sequence[tuple[float, str]]],
    added: Mapping[str, float],
    k: int,
    max_distance: float | None = None,
) -> list[tuple[str, float, str]]:
    """The k nearest of all: id, distance and the hypothesis that found it, by the smallest distance with its margin, ties by id.

    Exact if each hypothesis found its k nearest: whatever is among the k nearest of all is among those of its hypothesis.

    Args:
        found: by hypothesis, its k nearest as (distance, id).
        added: margins by hypothesis.
        max_distance: leave out what is farther away, its margin included.
    """
    best: dict[str, tuple[float, bytes, int, float]] = {}
    names = list(found)
    for number, name in enumerate(names):
        for distance, image_id in found[name]:
            score = distance + added[name]
            if max_distance is not None and score > max_distance:
                continue
            if image_id not in best or score < best[image_id][0]:
                best[image_id] = (score, image_id.encode(), number, distance)
    nearest = heapq.nsmallest(k, best.values())
    return [(image_id.decode(), distance, names[number]) for _, image_id, number, distance in nearest]


def _margin_share(name: str) -> float:
    if name == WHOLE:
        return 0.0
    return PART_MARGIN if name.startswith("part-") else OTHER_MARGIN


def _negative(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return ImageOps.invert(image)
    negative = ImageOps.invert(image.convert("RGB"))
    negative.putalpha(image.getchannel("A"))
    return negative
