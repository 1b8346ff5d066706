"""Pictures that show what an encoder does: how it learnt, what it keeps of an image, which neighbours it finds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_TILE_PX = 84
_GAP_PX = 10
_TEXT_PX = 15
_RIGHT, _WRONG, _TEXT = "#2e9e5b", "#d64545", "#444444"


def draw_pairs(originals: NDArray[np.float32], others: NDArray[np.float32], title: str) -> Image.Image:
    """Images (n, 28, 28, 1) in [0, 1] above what was made of them, in a row that begins with `title`."""
    side = _TILE_PX + _GAP_PX
    margin = 130
    sheet = Image.new("RGB", (margin + len(originals) * side, 2 * side + _GAP_PX), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (word, images) in enumerate((("original", originals), (title, others))):
        top = _GAP_PX + row * side
        _write(draw, (margin - 14, top + _TILE_PX // 2), word, anchor="rm")
        for column, image in enumerate(images):
            sheet.paste(_tile(np.round(image[..., 0] * 255).astype(np.uint8)), (margin + column * side, top))
    return sheet


def draw_neighbours(
    queries: NDArray[np.uint8],
    neighbours: NDArray[np.uint8],
    is_same: NDArray[np.bool_],
    distances: NDArray[np.float32],
) -> Image.Image:
    """One row a query: (n, 28, 28) queries, (n, k, 28, 28) neighbours nearest first, framed by whether the label is the
    query's, with their distances (n, k) below."""
    count, k = is_same.shape
    side, height = _TILE_PX + _GAP_PX, _TILE_PX + _GAP_PX + _TEXT_PX + 6
    head = 34
    first = side + 24
    sheet = Image.new("RGB", (_GAP_PX + first + k * side, head + count * height), "white")
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP_PX + _TILE_PX // 2, head // 2), "query", anchor="mm")
    _write(draw, (_GAP_PX + first, head // 2), "neighbours, nearest first, with distances:", anchor="lm")
    words = draw.textlength("neighbours, nearest first, with distances:  ", _font())
    _write(draw, (_GAP_PX + first + words, head // 2), "same label", anchor="lm", fill=_RIGHT)
    words += draw.textlength("same label   ", _font())
    _write(draw, (_GAP_PX + first + words, head // 2), "another label", anchor="lm", fill=_WRONG)
    for row in range(count):
        top = head + row * height
        sheet.paste(_tile(queries[row]), (_GAP_PX, top))
        for column in range(k):
            left = _GAP_PX + first + column * side
            colour = _RIGHT if is_same[row, column] else _WRONG
            draw.rectangle((left - 4, top - 4, left + _TILE_PX + 3, top + _TILE_PX + 3), fill=colour)
            sheet.paste(_tile(neighbours[row, column]), (left, top))
            below = (left + _TILE_PX // 2, top + _TILE_PX + _TEXT_PX - 2)
            _write(draw, below, f"{distances[row, column]:.2f}", anchor="mm")
    return sheet


def draw_curves(history: list[dict[str, float]], titles: dict[str, str], path: Path) -> None:
    """Two figures by epoch, of training and test images, as a PNG: their names in `history` and titles. Needs matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), dpi=110, layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, (name, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        axes.plot(epochs, [row[name] for row in history], color="#3b6fb6", label="training images")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], color="#e08a2e", label="test images")
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.savefig(path, metadata={"Software": None})


def _tile(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).resize((_TILE_PX, _TILE_PX), Image.Resampling.NEAREST).convert("RGB")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT_PX)


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, *, anchor: str, fill: str = _TEXT) -> None:
    draw.text(at, text, fill=fill, font=_font(), anchor=anchor)
