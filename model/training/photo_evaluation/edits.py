"""All edits by name, with how many photographs each result shows; every photo and edit has a random generator of its own."""

import hashlib
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from model.training.photo_evaluation.easy_edits import EASY, Alter
from model.training.photo_evaluation.hard_edits import HARD

# Of the gallery's photographs that an edit's result shows; the one that was altered counts as found among so many first results.
_SHOWN = {"shot": 2, "paste30": 2, "paste45": 2, "collage": 4}
OTHERS = 3


class NamedEdit(NamedTuple):
    """A way to alter a photo.

    Attributes:
        shown: photographs of the gallery that the result shows: the photo, and of the others the first `shown` - 1.
    """

    name: str
    group: Literal["easy", "hard"]
    shown: int
    alter: Alter


EDITS = (
    *(NamedEdit(name, "easy", _SHOWN.get(name, 1), alter) for name, alter in EASY.items()),
    *(NamedEdit(name, "hard", _SHOWN.get(name, 1), alter) for name, alter in HARD.items()),
)


def edited_copy(
    photo: Image.Image, others: Sequence[Image.Image], edit: NamedEdit, pixels_sha256: bytes, seed: int
) -> Image.Image:
    """The photo altered, RGB: the same for the same seed and pixels.

    Args:
        photo: RGB.
        others: three other photos, RGB, of which some edits show one or all.
        pixels_sha256: of the photo, so that its copies stay the same whatever else is altered and in whichever folder it lies.
    """
    assert len(others) == OTHERS
    chosen = hashlib.sha256(f"{seed} {edit.name} ".encode() + pixels_sha256).digest()
    return edit.alter(photo, others, np.random.default_rng(int.from_bytes(chosen[:16], "big")))
