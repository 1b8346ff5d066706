"""A picture of altered copies and what an encoder finds for them: two columns, easy and hard edits, a row for each."""

from PIL import Image, ImageDraw, ImageFont

from model.encoder import load_encoder
from model.pictures.pillow import as_rgb
from model.training.photo_evaluation.copies import others_of
from model.training.photo_evaluation.describers import load_describer
from model.training.photo_evaluation.edits import EDITS, NamedEdit, edited_copy
from model.training.photo_evaluation.evaluation import Evaluation
from model.training.photo_evaluation.photos import read, to_alter
from model.training.photo_evaluation.searching import nearest

FOUND = 5
_TILE_PX, _FRAME_PX, _GAP_PX, _TEXT_PX, _HEAD_PX, _NAME_PX = 112, 4, 14, 14, 40, 96
_RIGHT, _WRONG, _TEXT = "#2e9e5b", "#d64545", "#444444"
_ROW_PX = _TILE_PX + _TEXT_PX + _GAP_PX + 6
_STEP_PX = _TILE_PX + _GAP_PX
_HALF_PX = _NAME_PX + (FOUND + 1) * _STEP_PX + 3 * _GAP_PX


def draw_found(evaluation: Evaluation) -> Image.Image:
    """A row an edit, each of another photo: the copy, and the five nearest with their distances, framed green where the copy shows them.

    The encoder is the first that was measured and knows photographs, else the first that was measured.
    """
    measured = [name for name in evaluation.qualities if name in evaluation.plan.encoders] or [*evaluation.qualities]
    name = next((each for each in measured if _knows_photos(each, evaluation)), measured[0])
    groups = [[edit for edit in EDITS if edit.group == group] for group in ("easy", "hard")]
    height = _HEAD_PX + max(map(len, groups)) * _ROW_PX
    sheet = Image.new("RGB", (2 * _HALF_PX, height), "white")
    _write_head(sheet, name)
    for column, edits in enumerate(groups):
        for row, edit in enumerate(edits):
            _draw_row(sheet, (column * _HALF_PX + _GAP_PX, _HEAD_PX + row * _ROW_PX), evaluation, name, edit)
    return sheet


def _knows_photos(name: str, evaluation: Evaluation) -> bool:
    return name in evaluation.plan.encoders and not load_encoder(name).card["knows_drawings"]


def _draw_row(sheet: Image.Image, at: tuple[int, int], evaluation: Evaluation, name: str, edit: NamedEdit) -> None:
    gallery, chosen = evaluation.gallery, evaluation.chosen
    place = EDITS.index(edit) * max(1, len(chosen) // len(EDITS)) % len(chosen)
    original = read(gallery.photos[chosen[place]])
    beside = others_of(chosen, place)
    others = [to_alter(read(gallery.photos[row])) for row in beside]
    copy = edited_copy(to_alter(original), others, edit, original.pixels_sha256, evaluation.plan.seed)
    query = load_describer(name, evaluation.plan.sscd).describe(copy)
    (answer,) = nearest(query[None], gallery.numbers[name][gallery.different], FOUND)
    shown = {chosen[place], *beside[: edit.shown - 1]}
    left, top = at
    _write(sheet, (left, top + _TILE_PX // 2), edit.name, anchor="lm")
    _paste(sheet, (left + _NAME_PX, top), copy)
    for column, (distance, which) in enumerate(answer):
        row = int(gallery.different[which])
        corner = (left + _NAME_PX + _GAP_PX + (column + 1) * _STEP_PX, top)
        _paste(sheet, corner, as_rgb(read(gallery.photos[row]).image), _RIGHT if row in shown else _WRONG)
        _write(sheet, (corner[0] + _TILE_PX // 2, top + _TILE_PX + _TEXT_PX), f"{distance:.2f}", anchor="mm")


def _write_head(sheet: Image.Image, name: str) -> None:
    left = float(_GAP_PX)
    for text, fill in (
        (f"Altered copies and the {FOUND} nearest under {name}, with distances:  ", _TEXT),
        ("the copy shows it   ", _RIGHT),
        ("another photo", _WRONG),
    ):
        _write(sheet, (left, _HEAD_PX // 2), text, anchor="lm", fill=fill)
        left += ImageDraw.Draw(sheet).textlength(text, ImageFont.load_default(_TEXT_PX))


def _paste(sheet: Image.Image, corner: tuple[int, int], picture: Image.Image, frame: str | None = None) -> None:
    """The picture in the middle of a square tile, its frame around that."""
    picture = picture.copy()
    picture.thumbnail((_TILE_PX, _TILE_PX), Image.Resampling.BICUBIC)
    left, top = corner[0] + (_TILE_PX - picture.width) // 2, corner[1] + (_TILE_PX - picture.height) // 2
    if frame:
        box = (left - _FRAME_PX, top - _FRAME_PX, left + picture.width + 3, top + picture.height + 3)
        ImageDraw.Draw(sheet).rectangle(box, fill=frame)
    sheet.paste(picture, (left, top))


def _write(sheet: Image.Image, at: tuple[float, float], text: str, *, anchor: str, fill: str = _TEXT) -> None:
    ImageDraw.Draw(sheet).text(at, text, fill=fill, font=ImageFont.load_default(_TEXT_PX), anchor=anchor)
