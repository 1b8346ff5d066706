"""Pairs that only look alike: two moments of one scene, other parts of it, plain pictures, and frames of films."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from model.training.photo_evaluation.easy_edits import BICUBIC, from_pixels, scaled

Pair = tuple[Image.Image, Image.Image]
MakePair = Callable[[Image.Image, Image.Image, np.random.Generator], Pair]
PLAIN_SIZE = (300, 225)
FILMS = ("*.mp4", "*.avi", "*.mov", "*.mkv")
# So much of white two frames differ on average, at least, where something moves.
MOVES_MIN = 0.01


def _other_part(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Pair:
    """Two parts of a scene, 6 to 30 % of the width apart, as a camera that turns shows them."""
    step = round(photo.width * random.uniform(0.06, 0.3))
    size = (photo.width - step, photo.height)
    return photo.crop((0, 0, *size)), photo.crop((step, 0, photo.width, photo.height))


def _moved_thing(photo: Image.Image, other: Image.Image, random: np.random.Generator) -> Pair:
    """A part of another photo, in the shape of an egg, before the same ground at two places."""
    width, height = (round(side * random.uniform(0.15, 0.4)) for side in photo.size)
    thing = scaled(other, width, height)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    mask = Image.fromarray(np.uint8(np.clip((1 - x**2 - y**2) * 8, 0, 1) * 255))
    left, top = (int(random.integers(0, room)) for room in np.subtract(photo.size, thing.size))
    angle = random.uniform(0, 2 * np.pi)
    far = random.uniform(0.08, 0.3) * photo.width
    pair = []
    for x_px, y_px in ((left, top), (round(left + far * np.cos(angle)), round(top + far * np.sin(angle)))):
        made = photo.copy()
        made.paste(thing, (x_px, y_px), mask)
        pair.append(_grainy(made, random))
    return pair[0], pair[1]


def _other_place(photo: Image.Image, _: Image.Image, random: np.random.Generator) -> Pair:
    """What is near moves by other amounts than what is far: smooth shifts of up to 4 % of the width, as from another place."""
    coarse = random.standard_normal((2, 5, 7)).astype(np.float32)
    shifts = [cv2.resize(each, photo.size, interpolation=cv2.INTER_CUBIC) for each in coarse]
    y, x = np.mgrid[: photo.height, : photo.width].astype(np.float32)
    by = np.float32(random.uniform(0.015, 0.04) * photo.width)
    moved = cv2.remap(
        np.asarray(photo), x + by * shifts[0], y + by * shifts[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return _grainy(photo, random), _grainy(Image.fromarray(moved), random)


def _grainy(photo: Image.Image, random: np.random.Generator) -> Image.Image:
    pixels = np.asarray(photo, np.float32)
    return from_pixels(pixels + 2.5 * random.standard_normal(pixels.shape, np.float32))


SHIFTED: dict[str, MakePair] = {"other part": _other_part, "moved thing": _moved_thing, "other place": _other_place}


def _sky(random: np.random.Generator) -> np.ndarray:
    slope = np.linspace(0, random.uniform(20, 70), PLAIN_SIZE[1])[:, None, None]
    return np.array([random.uniform(70, 130), random.uniform(120, 170), random.uniform(190, 235)]) + slope


def _snow(random: np.random.Generator) -> np.ndarray:
    return 225 + _soft(random, 8, 12)


def _paper(random: np.random.Generator) -> np.ndarray:
    return np.asarray(np.array([235, 230, random.uniform(200, 225)]) + _soft(random, 60, 3) + _soft(random, 4, 6))


def _dark(random: np.random.Generator) -> np.ndarray:
    return 12 + _soft(random, 5, 6) + random.standard_normal((*PLAIN_SIZE[::-1], 3)) * 3


def _one_colour(random: np.random.Generator) -> np.ndarray:
    return random.uniform(20, 235, 3) + np.zeros((*PLAIN_SIZE[::-1], 3))


def _soft(random: np.random.Generator, cells: int, strength: float) -> np.ndarray:
    coarse = Image.fromarray(random.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(strength * np.asarray(coarse.resize(PLAIN_SIZE, BICUBIC))[..., None])


PLAIN: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "sky": _sky,
    "snow": _snow,
    "paper": _paper,
    "dark": _dark,
    "one colour": _one_colour,
}


def plain(kind: str, random: np.random.Generator) -> Image.Image:
    """A picture with little in it, and the noise of a camera."""
    made = PLAIN[kind](random) + random.uniform(0.8, 3) * random.standard_normal((*PLAIN_SIZE[::-1], 3))
    return from_pixels(made)


def film_pairs(folder: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """Frames of the films in a folder that are one second apart, where something moves: film, later and earlier."""
    for path in sorted(path for kind in FILMS for path in folder.rglob(kind)):
        film = cv2.VideoCapture(str(path))
        rate = max(1, round(film.get(cv2.CAP_PROP_FPS)))
        before: list[np.ndarray] = []
        while True:
            is_there, pixels = film.read()
            if not is_there:
                break
            before.append(pixels[..., ::-1].copy())
            if len(before) <= rate:
                continue
            earlier = before.pop(0)
            if (
                film.get(cv2.CAP_PROP_POS_FRAMES) % 5 == 0
                and np.abs(pixels[..., ::-1] - earlier.astype(float)).mean() > 255 * MOVES_MIN
            ):
                yield path.name, Image.fromarray(before[-1]), Image.fromarray(earlier)
        film.release()
