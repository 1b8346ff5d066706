"""What the random edits have in common: their type, and what they draw by chance."""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

Random = np.random.Generator
# Of a picture, and of other pictures, which some edits need.
RandomEdit = Callable[[Image.Image, Random, Sequence[Image.Image]], Image.Image]


def sign(random: Random) -> int:
    """1 or -1."""
    return 1 if random.random() < 0.5 else -1


def words(random: Random) -> str:
    """4 to 27 letters, digits and marks."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !?@#.,"
    return "".join(letters[place] for place in random.integers(0, len(letters), int(random.integers(4, 28))))
