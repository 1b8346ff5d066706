"""What every encoder must do before it is exported: give finite numbers for any picture."""

import numpy as np
from PIL import Image

from contract.errors import ConfigurationError
from model.encoder import Encoder

SIDES_PX = ((1, 1), (28, 28), (3, 200), (320, 240))


def hard_pictures() -> dict[str, Image.Image]:
    """Pictures with little to see in them, and some with too much, by what they are."""
    pictures: dict[str, Image.Image] = {}
    for width, height in SIDES_PX:
        size, shape = (width, height), (height, width, 3)
        one_pixel = Image.new("L", size, 0)
        one_pixel.putpixel((width // 2, height // 2), 255)
        noise = np.random.default_rng(width).integers(0, 256, shape, np.uint8)
        found = {
            "white": Image.new("L", size, 255),
            "black": Image.new("L", size, 0),
            "grey": Image.new("L", size, 100),
            "one pixel": one_pixel,
            "transparent": Image.new("RGBA", size),
            "red": Image.new("RGB", size, "red"),
            "noisy": Image.fromarray(noise),
            "faintly noisy": Image.fromarray(noise // 128 + 127),
        }
        pictures |= {f"{name} {width} x {height}": image for name, image in found.items()}
    return pictures


def check_embeddings(encoder: Encoder) -> None:
    """Embed all hard pictures.

    Raises:
        ConfigurationError: an embedding has the wrong length or numbers that are not finite; the message names the pictures.
    """
    wrong = []
    for name, image in hard_pictures().items():
        embedding = encoder.embed(encoder.pixels(image))
        if embedding.shape != (encoder.dimensions,) or not np.isfinite(embedding).all():
            wrong.append(name)
    if wrong:
        raise ConfigurationError(
            f"Encoder {encoder.name} must give {encoder.dimensions} finite numbers for every picture, but some are not finite, or "
            f"not so many, for: {', '.join(wrong)}. Where its network divides by a length, add a small number to it."
        )
