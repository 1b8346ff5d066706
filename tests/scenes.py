"""Pictures like photographs, made of shapes before a ground with structure: the same for the same seed."""

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture in colour with shapes of all sizes, a ground of soft light and fine grain."""
    random = np.random.default_rng(seed)
    width, height = size
    ground = np.zeros((height, width, 3))
    for rows, weight in ((3, 90), (9, 40), (60, 14)):
        patches = Image.fromarray(random.integers(0, 256, (rows, rows * 4 // 3, 3), np.uint8))
        ground += weight * np.asarray(patches.resize(size, Image.Resampling.BICUBIC), float) / 160
    image = Image.fromarray(np.uint8(np.clip(ground, 0, 255)))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        centre, extent = (
            random.uniform(0, 1, 2) * size,
            random.uniform(0.02, 0.14) * width * random.uniform(0.5, 1.5, 2),
        )
        box = (*(centre - extent / 2), *(centre + extent / 2))
        fill = tuple(int(level) for level in random.integers(20, 236, 3))
        if random.random() < 0.5:
            draw.ellipse(box, fill=fill)
        else:
            corners = centre + extent * random.uniform(-0.7, 0.7, (int(random.integers(3, 7)), 2))
            draw.polygon([(float(x), float(y)) for x, y in corners], fill=fill)
    grain = random.normal(0, 2, (height, width, 1))
    return Image.fromarray(np.uint8(np.clip(np.asarray(image, float) + grain, 0, 255)))
