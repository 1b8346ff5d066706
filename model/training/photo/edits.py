"""What people and programs do to photographs: a random chain of edits, to learn by what makes a copy.

In the manner of Pizzi et al. 2022 (arXiv 2202.10261), whose copy detector learns from chains of many kinds of strong edits. Each
edit is a function of a picture, a random generator and other pictures, which some of them need.
"""

import io
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

Random = np.random.Generator
Picture = Image.Image
Edit = Callable[[Picture, Random, Sequence[Picture]], Picture]

SIDE_PX_MAX, SIDE_PX_MIN = 400, 16
# Share of copies that have one edit alone, which is then seen at full strength.
SINGLE = 0.4
CHAIN_MAX = 4


def altered(picture: Picture, random: Random, others: Sequence[Picture]) -> Picture:
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


def _bounded(picture: Picture) -> Picture:
    scale = min(1.0, SIDE_PX_MAX / max(picture.size))
    return picture if scale == 1 else _resized(picture, picture.width * scale, picture.height * scale)


def _resized(picture: Picture, width: float, height: float, resampling: int = Image.Resampling.BILINEAR) -> Picture:
    return picture.resize((max(1, round(width)), max(1, round(height))), resampling)


def _colour(random: Random) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(0, 256, 3))
    return red, green, blue


def _sign(random: Random) -> int:
    return 1 if random.random() < 0.5 else -1


# Shape


def _crop(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    area, aspect = math.exp(random.uniform(math.log(0.1), math.log(0.9))), math.exp(random.uniform(-0.3, 0.3))
    width = min(picture.width, max(SIDE_PX_MIN, round(picture.width * math.sqrt(area * aspect))))
    height = min(picture.height, max(SIDE_PX_MIN, round(picture.height * math.sqrt(area / aspect))))
    left, top = int(random.integers(picture.width - width + 1)), int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def _turn(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    angle = float(random.uniform(4, 60) * _sign(random))
    turned = picture.rotate(angle, Image.Resampling.BILINEAR, expand=True, fillcolor=_colour(random))
    if random.random() < 0.5:
        return turned
    inner = random.uniform(0.55, 0.85)
    width, height = turned.width * inner, turned.height * inner
    left, top = (turned.width - width) / 2, (turned.height - height) / 2
    return turned.crop((round(left), round(top), round(left + width), round(top + height)))


def _quarter_turn(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    turns = (
        Image.Transpose.ROTATE_90,
        Image.Transpose.ROTATE_180,
        Image.Transpose.ROTATE_270,
        Image.Transpose.FLIP_TOP_BOTTOM,
    )
    return picture.transpose(turns[int(random.integers(len(turns)))])


def _mirror(picture: Picture, _: Random, __: Sequence[Picture]) -> Picture:
    return ImageOps.mirror(picture)


def _squeeze(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    by = math.exp(random.uniform(0.1, 0.4) * _sign(random))
    return _resized(picture, picture.width * by, picture.height / by)


def _perspective(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    width, height = picture.size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], float)
    inwards = np.where(corners == 0, 1, -1) * random.uniform(0, random.uniform(0.05, 0.25), (4, 2)) * (width, height)
    moved = corners + inwards
    rows = []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    coefficients = np.linalg.solve(np.array(rows), corners.ravel())
    method, fill = Image.Transform.PERSPECTIVE, _colour(random)
    return picture.transform(picture.size, method, coefficients.tolist(), Image.Resampling.BILINEAR, fillcolor=fill)


def _waves(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    y, x = np.mgrid[: picture.height, : picture.width]
    amplitude, length = random.uniform(1, 0.03 * max(picture.size) + 1), random.uniform(0.1, 0.6) * max(picture.size)
    rows = np.clip(y + amplitude * np.sin(2 * np.pi * x / length), 0, picture.height - 1).astype(int)
    columns = np.clip(x + amplitude * np.cos(2 * np.pi * y / length), 0, picture.width - 1).astype(int)
    return Image.fromarray(np.asarray(picture)[rows, columns])


# Colour


def _light(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)[int(random.integers(3))]
    return enhance(picture).enhance(float(random.choice([random.uniform(0.2, 0.8), random.uniform(1.25, 2.6)])))


def _gamma(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    power = math.exp(random.uniform(0.25, 1.0) * _sign(random))
    return picture.point([round(255 * (value / 255) ** power) for value in range(256)] * 3)


def _hue(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    shift = int(random.integers(15, 241))
    hue, saturation, brightness = picture.convert("HSV").split()
    return Image.merge("HSV", (hue.point(lambda value: (value + shift) % 256), saturation, brightness)).convert("RGB")


def _cast(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    gains = random.uniform(0.6, 1.35, 3)
    return picture.point([min(255, round(value * gain)) for gain in gains for value in range(256)])


def _grey(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    grey = ImageOps.grayscale(picture)
    if random.random() < 0.6:
        return grey
    return ImageOps.colorize(
        grey, tuple(c // 3 for c in _colour(random)), tuple(155 + c * 100 // 255 for c in _colour(random))
    )


def _channels(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    bands = picture.split()
    return Image.merge("RGB", [bands[place] for place in random.permutation(3)])


def _negative(picture: Picture, _: Random, __: Sequence[Picture]) -> Picture:
    return ImageOps.invert(picture)


def _few_tones(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    way = int(random.integers(5))
    if way == 0:
        return ImageOps.posterize(picture, int(random.integers(1, 4)))
    if way == 1:
        return ImageOps.solarize(picture, int(random.integers(60, 200)))
    if way == 2:
        return ImageOps.equalize(picture)
    if way == 3:
        return picture.quantize(int(random.integers(4, 24))).convert("RGB")
    threshold = float(np.median(np.asarray(picture.convert("L")))) + random.uniform(-20, 20)
    return picture.convert("L").point(lambda value: 255 if value > threshold else 0)


def _outline(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    if random.random() < 0.6:
        picture = picture.convert("L")
    way = int(random.integers(5))
    if way < 2:
        edges = picture.filter(ImageFilter.FIND_EDGES)
        return ImageOps.invert(edges) if way else edges
    kinds = (ImageFilter.CONTOUR, ImageFilter.EMBOSS, ImageFilter.EDGE_ENHANCE_MORE)
    return picture.filter(kinds[way - 2])


# Quality


def _jpeg(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if random.random() < 0.7 else "WEBP", quality=int(random.integers(3, 50)))
    return Image.open(buffer).convert("RGB")


def _blur(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    radius, way = max(picture.size) * random.uniform(0.004, 0.025), int(random.integers(4))
    if way == 0:
        return picture.filter(ImageFilter.BoxBlur(radius * 1.5))
    if way == 1:
        return picture.filter(ImageFilter.MedianFilter(2 * min(4, math.ceil(radius / 2)) + 1))
    if way == 2:  # by a moving camera
        shift = max(1, round(radius))
        moved = [
            ImageChops.offset(picture, round(shift * step), round(shift * step * random.uniform(-1, 1)))
            for step in (-1, 1)
        ]
        return Image.blend(Image.blend(moved[0], moved[1], 0.5), picture, 0.34)
    return picture.filter(ImageFilter.GaussianBlur(radius))


def _noise(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    pixels: NDArray[Any] = np.asarray(picture, np.float32)
    strength, way = random.uniform(8, 60), int(random.integers(3))
    if way == 0:
        pixels = pixels + random.normal(0, strength, pixels.shape)
    elif way == 1:
        pixels = pixels * random.normal(1, strength / 100, pixels.shape)
    else:
        hit = random.random(pixels.shape[:2]) < strength / 400
        pixels = np.where(hit[..., None], 255.0 * (random.random(pixels.shape[:2])[..., None] < 0.5), pixels)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _small(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    scale = min(1.0, math.exp(random.uniform(math.log(18), math.log(90))) / max(picture.size))
    small = _resized(picture, picture.width * scale, picture.height * scale, Image.Resampling.BICUBIC)
    back = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)[int(random.integers(3))]
    return _resized(small, picture.width, picture.height, back)


def _screen_stripes(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    y, x = np.mgrid[: picture.height, : picture.width]
    wave = np.sin(x * random.uniform(0.2, 2.5) + y * random.uniform(0.0, 2.5) + random.uniform(0, 6))
    pixels = (
        np.asarray(picture, np.float32)
        * (1 + random.uniform(0.05, 0.25) * wave)[..., None]
        * random.uniform(0.8, 1.15, 3)
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _shadow(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    y, x = np.mgrid[-1 : 1 : picture.height * 1j, -1 : 1 : picture.width * 1j]
    if random.random() < 0.5:  # a vignette or a lamp
        light = 1 - random.uniform(0.2, 0.6) * (
            (x - random.uniform(-0.5, 0.5)) ** 2 + (y - random.uniform(-0.5, 0.5)) ** 2
        )
    else:
        light = 1 + random.uniform(-0.6, 0.6) * x + random.uniform(-0.6, 0.6) * y
    return Image.fromarray(np.clip(np.asarray(picture, np.float32) * light[..., None], 0, 255).astype(np.uint8))


# What is laid over


def _words(random: Random) -> str:
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 !?@#.,"
    return "".join(letters[place] for place in random.integers(0, len(letters), int(random.integers(4, 28))))


def _text(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for _line in range(int(random.integers(1, 6))):
        place = (int(random.integers(-20, picture.width)), int(random.integers(-5, picture.height)))
        size = float(max(8.0, picture.height * random.uniform(0.05, 0.22)))
        stroke_width = 2 if random.random() < 0.4 else 0
        draw.text(
            place,
            _words(random),
            fill=_colour(random),
            font_size=size,
            stroke_width=stroke_width,
            stroke_fill=_colour(random),
        )
    return picture


def _shapes(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    over = picture.copy()
    draw = ImageDraw.Draw(over)
    for _shape in range(int(random.integers(1, 7))):
        width, height = random.uniform(0.05, 0.4) * picture.width, random.uniform(0.05, 0.4) * picture.height
        left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
        box = (left, top, left + width, top + height)
        kind = int(random.integers(3))
        if kind == 0:
            draw.rectangle(box, fill=_colour(random))
        elif kind == 1:
            draw.ellipse(box, fill=_colour(random))
        else:
            draw.line(box, fill=_colour(random), width=int(random.integers(2, 9)))
    return Image.blend(picture, over, random.uniform(0.4, 1))


def _watermark(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    over = picture.copy()
    draw, words, size = (
        ImageDraw.Draw(over),
        _words(random),
        float(max(9.0, picture.height * random.uniform(0.06, 0.15))),
    )
    colour = _colour(random)
    for top in range(0, picture.height, max(12, int(size * random.uniform(1.5, 3)))):
        draw.text((int(random.integers(-60, 10)), top), (words + "   ") * 4, fill=colour, font_size=size)
    return Image.blend(picture, over, random.uniform(0.25, 0.7))


def _mixed(picture: Picture, random: Random, others: Sequence[Picture]) -> Picture:
    other = others[int(random.integers(len(others)))].resize(picture.size)
    return Image.blend(picture, other, random.uniform(0.15, 0.4))


# Where it stands


def _border(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    sides = [int(random.uniform(0, 0.3) * max(picture.size)) for _side in range(4)]
    if random.random() < 0.4:
        sides = [sides[0]] * 4
    return ImageOps.expand(picture, (sides[0], sides[1], sides[2], sides[3]), fill=_colour(random))


def _pasted(picture: Picture, random: Random, others: Sequence[Picture]) -> Picture:
    ground = others[int(random.integers(len(others)))].copy()
    scale = random.uniform(0.32, 0.8) * max(ground.size) / max(picture.size)
    pasted = _resized(picture, picture.width * scale, picture.height * scale)
    room = (max(0, ground.width - pasted.width), max(0, ground.height - pasted.height))
    ground.paste(pasted, (int(random.integers(room[0] + 1)), int(random.integers(room[1] + 1))))
    return ground


def _collage(picture: Picture, random: Random, others: Sequence[Picture]) -> Picture:
    columns, rows = ((2, 1), (1, 2), (2, 2), (2, 2), (3, 1))[int(random.integers(5))]
    width, height, gap = int(random.integers(100, 160)), int(random.integers(90, 160)), int(random.integers(0, 8))
    shown = [picture, *(others[place % len(others)] for place in range(columns * rows - 1))]
    sheet = Image.new("RGB", (columns * (width + gap), rows * (height + gap)), _colour(random))
    for place, of in enumerate(random.permutation(len(shown))):
        tile = ImageOps.fit(shown[of], (width, height))
        sheet.paste(tile, (place % columns * (width + gap), place // columns * (height + gap)))
    return sheet


def _page(picture: Picture, random: Random, _: Sequence[Picture]) -> Picture:
    """On a telephone's screen, a web page or a meme: bands with text above and below, sometimes beside."""
    ground, ink = ((18,) * 3, (230,) * 3) if random.random() < 0.4 else ((250,) * 3, (20,) * 3)
    above, below = (int(picture.height * random.uniform(0, 0.9)) for _band in range(2))
    left, right = (int(picture.width * max(0, random.uniform(-0.4, 0.4))) for _band in range(2))
    page = Image.new("RGB", (picture.width + left + right, picture.height + above + below), ground)
    draw, size = ImageDraw.Draw(page), float(max(8.0, picture.width * random.uniform(0.03, 0.13)))
    for start, end in ((0, above), (above + picture.height, page.height)):
        for top in range(start + 4, max(start, int(end - size)), max(10, int(size * random.uniform(1.1, 2)))):
            draw.text((8, top), _words(random), fill=ink, font_size=size)
    page.paste(picture, (left, above))
    return page


SHAPES: tuple[Edit, ...] = (_crop, _crop, _crop, _turn, _turn, _quarter_turn, _mirror, _squeeze, _perspective, _waves)
COLOURS: tuple[Edit, ...] = (
    _light,
    _light,
    _gamma,
    _hue,
    _cast,
    _grey,
    _channels,
    _negative,
    _few_tones,
    _outline,
    _outline,
)
QUALITIES: tuple[Edit, ...] = (_jpeg, _blur, _noise, _small, _small, _screen_stripes, _shadow)
OVERLAYS: tuple[Edit, ...] = (_text, _shapes, _watermark, _mixed)
PLACES: tuple[Edit, ...] = (_border, _pasted, _pasted, _pasted, _collage, _collage, _page)
_GROUPS = (SHAPES, COLOURS, QUALITIES, OVERLAYS, PLACES)
_SHARES = (0.27, 0.21, 0.19, 0.11, 0.22)
