"""Random edits that lay something over a picture, or put it among other things: text, watermarks, borders, collages, pages."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageOps

from model.training.photo.chance import Random, RandomEdit, words
from model.training.photo_evaluation.easy_edits import colour, scaled


def _text(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for _line in range(int(random.integers(1, 6))):
        place = (int(random.integers(-20, picture.width)), int(random.integers(-5, picture.height)))
        size = float(max(8.0, picture.height * random.uniform(0.05, 0.22)))
        stroke_width = 2 if random.random() < 0.4 else 0
        draw.text(
            place,
            words(random),
            fill=colour(random),
            font_size=size,
            stroke_width=stroke_width,
            stroke_fill=colour(random),
        )
    return picture


def _shapes(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    over = picture.copy()
    draw = ImageDraw.Draw(over)
    for _shape in range(int(random.integers(1, 7))):
        width, height = random.uniform(0.05, 0.4) * picture.width, random.uniform(0.05, 0.4) * picture.height
        left, top = random.uniform(0, picture.width - width), random.uniform(0, picture.height - height)
        box = (left, top, left + width, top + height)
        kind = int(random.integers(3))
        if kind == 0:
            draw.rectangle(box, fill=colour(random))
        elif kind == 1:
            draw.ellipse(box, fill=colour(random))
        else:
            draw.line(box, fill=colour(random), width=int(random.integers(2, 9)))
    return Image.blend(picture, over, random.uniform(0.4, 1))


def _watermark(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    over = picture.copy()
    draw, text = ImageDraw.Draw(over), (words(random) + "   ") * 4
    size = float(max(9.0, picture.height * random.uniform(0.06, 0.15)))
    ink = colour(random)
    for top in range(0, picture.height, max(12, int(size * random.uniform(1.5, 3)))):
        draw.text((int(random.integers(-60, 10)), top), text, fill=ink, font_size=size)
    return Image.blend(picture, over, random.uniform(0.25, 0.7))


def _mixed(picture: Image.Image, random: Random, others: Sequence[Image.Image]) -> Image.Image:
    other = others[int(random.integers(len(others)))].resize(picture.size)
    return Image.blend(picture, other, random.uniform(0.15, 0.4))


def _border(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    sides = [int(random.uniform(0, 0.3) * max(picture.size)) for _side in range(4)]
    if random.random() < 0.4:
        sides = [sides[0]] * 4
    return ImageOps.expand(picture, (sides[0], sides[1], sides[2], sides[3]), fill=colour(random))


def _pasted(picture: Image.Image, random: Random, others: Sequence[Image.Image]) -> Image.Image:
    ground = others[int(random.integers(len(others)))].copy()
    scale = random.uniform(0.32, 0.8) * max(ground.size) / max(picture.size)
    pasted = scaled(picture, picture.width * scale, picture.height * scale, Image.Resampling.BILINEAR)
    room = (max(0, ground.width - pasted.width), max(0, ground.height - pasted.height))
    ground.paste(pasted, (int(random.integers(room[0] + 1)), int(random.integers(room[1] + 1))))
    return ground


def _collage(picture: Image.Image, random: Random, others: Sequence[Image.Image]) -> Image.Image:
    columns, rows = ((2, 1), (1, 2), (2, 2), (2, 2), (3, 1))[int(random.integers(5))]
    width, height, gap = int(random.integers(100, 160)), int(random.integers(90, 160)), int(random.integers(0, 8))
    shown = [picture, *(others[place % len(others)] for place in range(columns * rows - 1))]
    sheet = Image.new("RGB", (columns * (width + gap), rows * (height + gap)), colour(random))
    for place, of in enumerate(random.permutation(len(shown))):
        tile = ImageOps.fit(shown[of], (width, height))
        sheet.paste(tile, (place % columns * (width + gap), place // columns * (height + gap)))
    return sheet


def _page(picture: Image.Image, random: Random, _: Sequence[Image.Image]) -> Image.Image:
    """On a telephone's screen, a web page or a meme: bands with text above and below, sometimes beside."""
    ground, ink = ((18,) * 3, (230,) * 3) if random.random() < 0.4 else ((250,) * 3, (20,) * 3)
    above, below = (int(picture.height * random.uniform(0, 0.9)) for _band in range(2))
    left, right = (int(picture.width * max(0, random.uniform(-0.4, 0.4))) for _band in range(2))
    page = Image.new("RGB", (picture.width + left + right, picture.height + above + below), ground)
    draw, size = ImageDraw.Draw(page), float(max(8.0, picture.width * random.uniform(0.03, 0.13)))
    for start, end in ((0, above), (above + picture.height, page.height)):
        for top in range(start + 4, max(start, int(end - size)), max(10, int(size * random.uniform(1.1, 2)))):
            draw.text((8, top), words(random), fill=ink, font_size=size)
    page.paste(picture, (left, above))
    return page


OVERLAYS: tuple[RandomEdit, ...] = (_text, _shapes, _watermark, _mixed)
PLACES: tuple[RandomEdit, ...] = (_border, _pasted, _pasted, _pasted, _collage, _collage, _page)
