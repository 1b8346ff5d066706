"""Any picture to the pixels that this encoder looks at: all of it, squeezed to a square, in colour."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 224


def pixels(image: Image.Image) -> NDArray[np.float32]:
    """Pixels (224, 224, 3) float32 in [0, 255].

    Args:
        image: mode L, RGB or RGBA; transparent pixels show white. Its proportions are not kept, so that nothing is cut off.
    """
    small = image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=3.0)
    if small.mode == "RGBA":
        small = Image.alpha_composite(Image.new("RGBA", small.size, "white"), small)
    return np.asarray(small.convert("RGB"), np.float32)
