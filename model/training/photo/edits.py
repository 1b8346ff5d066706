"""What people and programs do to photographs: a random chain of edits, to learn by what makes a copy.

In the manner of Pizzi et al. 2022 (arXiv 2202.10261), whose copy detector learns from chains of many kinds of strong edits. Each
edit is a function of a picture, a random generator and other pictures, which some of them need.
"""

from collections.abc import Sequence

from PIL import Image, ImageOps

from model.training.photo.chance import Random
from model.training.photo.colours import COLOURS
from model.training.photo.qualities import POOR_QUALITIES
from model.training.photo.shapes import SHAPES
from model.training.photo.surroundings import OVERLAYS, PLACES
from model.training.photo_evaluation.easy_edits import scaled

COPY_SIDE_PX_MAX = 400
# Share of copies that have one edit alone, which is then seen at full strength.
SINGLE = 0.4
CHAIN_MAX = 4
_GROUPS = (SHAPES, COLOURS, POOR_QUALITIES, OVERLAYS, PLACES)
_SHARES = (0.27, 0.21, 0.19, 0.11, 0.22)


def edited_at_random(picture: Image.Image, random: Random, others: Sequence[Image.Image]) -> Image.Image:
    """A copy of an RGB picture by one to four random edits; at most one of them puts it among `others`."""
    kinds = 1 if random.random() < SINGLE else int(random.integers(2, CHAIN_MAX + 1))
    is_placed = False
    for _ in range(kinds):
        group = _GROUPS[int(random.choice(len(_GROUPS), p=_SHARES))]
        if group is PLACES and is_placed:
            group = COLOURS
        is_placed |= group is PLACES
        picture = group[int(random.integers(len(group)))](picture, random, others).convert("RGB")
        picture = _bounded(picture)
    return ImageOps.mirror(picture) if random.random() < 0.25 else picture


def _bounded(picture: Image.Image) -> Image.Image:
    scale = min(1.0, COPY_SIDE_PX_MAX / max(picture.size))
    if scale == 1:
        return picture
    return scaled(picture, picture.width * scale, picture.height * scale, Image.Resampling.BILINEAR)
