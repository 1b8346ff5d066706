"""Verdicts measured: on copies that are altered by known amounts, and on pairs that only look alike."""

import io
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.encoder import Encoder
from model.pictures.images import decode
from model.pictures.pillow import as_rgb
from model.training.photo_evaluation.photos import Photo, photos_in, read, to_alter
from model.training.photo_evaluation.searching import nearest
from model.training.photo_verdicts.edits import KNOWN_EDITS, is_right
from model.training.photo_verdicts.lookalikes import PLAIN, SHIFTED, film_pairs, plain
from model.verdicts.explainer import Explainer
from model.verdicts.frames import Explained, Shown
from model.verdicts.photographs.pair import PhotoQuery
from runtime.progress import progress_line

PLAIN_PAIRS = 200
MATCHES = 10
QUESTIONS = 20


def measure(encoder: Encoder, folder: Path, films: Path | None, copies: int, pairs: int, seed: int) -> dict[str, Any]:
    """Everything that goals are set for, of photographs in a folder: `copies` altered, and `pairs` photographs with their nearest other one.

    Raises:
        ConfigurationError: the folder holds no file.
    """
    random = np.random.default_rng(seed)
    photos = [photo for photo in photos_in(folder) if photo.path.suffix.lower() not in (".md", ".txt", ".json")]
    chosen = [photos[row] for row in random.permutation(len(photos))]
    return {
        "copies": _copies(chosen[:copies], random, encoder.thumbnail_side_px),
        "nearest": _nearest(chosen[:pairs], encoder),
        "shifted": _shifted(chosen[: max(3, copies // 3)], random, encoder.thumbnail_side_px),
        "films": _films(films, encoder.thumbnail_side_px) if films else {},
        "plain": _plain(random, encoder.thumbnail_side_px),
        "ten_matches": _times(chosen[: 2 * MATCHES], encoder.thumbnail_side_px),
    }


def as_text(figures: dict[str, Any]) -> str:
    """The figures for people."""
    return json.dumps(figures, indent=1, ensure_ascii=False)


def _copies(photos: list[Photo], random: np.random.Generator, side_px: int) -> dict[str, Any]:
    lines: dict[str, Counter[str]] = defaultdict(Counter)
    names = list(KNOWN_EDITS)
    with progress_line("altered copies", len(photos), "copies") as progress:
        for number, photo in enumerate(photos):
            name = names[number % len(names)]
            image, other = _rgb(photo), _rgb(photos[(number + 1) % len(photos)])
            edited = KNOWN_EDITS[name](image, other, random)
            query = as_sent(edited.image, is_png=number % 2 == 0)
            told = explained(query, stored(image, side_px))
            amounts = {edit: amount for edit, amount, _ in told.edits}
            line = lines[name]
            line["all"] += 1
            line["copies"] += told.verdict == "altered copy"
            line["named"] += told.verdict == "altered copy" and is_right(edited, amounts)
            line["others"] += len(amounts) - (edited.name in amounts)
            progress.update(1)
    called, named, count = (sum(line[part] for line in lines.values()) for part in ("copies", "named", "all"))
    return {
        "photographs": count,
        "called_copies": round(called / max(count, 1), 4),
        "of_these_named_with_amount": round(named / max(called, 1), 4),
        "by_edit": {
            name: {
                "copies": round(line["copies"] / line["all"], 3),
                "named": round(line["named"] / max(line["copies"], 1), 3),
                "others": round(line["others"] / line["all"], 2),
            }
            for name, line in lines.items()
        },
    }


def _nearest(photos: list[Photo], encoder: Encoder) -> dict[str, Any]:
    """Each photograph explained by the nearest other one."""
    images, embeddings, known = [], [], set()
    with progress_line("embedding", len(photos), "photos") as progress:
        for photo in photos:
            picture = read(photo)
            progress.update(1)
            if picture.pixels_sha256 in known:
                continue
            known.add(picture.pixels_sha256)
            images.append(photo)
            embeddings.append(encoder.embed(encoder.pixels(picture.image)))
    numbers = np.stack(embeddings)
    found = []
    with progress_line("nearest pairs", len(images), "pairs") as progress:
        for row, answer in enumerate(nearest(numbers, numbers, 2)):
            other = next(at for _, at in answer if at != row)
            told = explained(as_sent(_rgb(images[row])), stored(_rgb(images[other]), encoder.thumbnail_side_px))
            if told.verdict != "similar":
                found.append(f"{images[row].path} {images[other].path}")
            progress.update(1)
    return {"pairs": len(images), "called_copies": round(len(found) / max(len(images), 1), 4), "which": found[:50]}


def _shifted(photos: list[Photo], random: np.random.Generator, side_px: int) -> dict[str, Any]:
    images = ((_rgb(photo), _rgb(photos[(at + 1) % len(photos)])) for at, photo in enumerate(photos))
    names = list(SHIFTED)
    pairs = (
        (names[at % len(names)], *SHIFTED[names[at % len(names)]](image, other, random))
        for at, (image, other) in enumerate(images)
    )
    return _shares(pairs, side_px)


def _films(folder: Path, side_px: int) -> dict[str, Any]:
    return _shares(film_pairs(folder), side_px)


def _plain(random: np.random.Generator, side_px: int) -> dict[str, Any]:
    kinds = [kind for kind in PLAIN for _ in range(PLAIN_PAIRS // len(PLAIN))]
    return _shares(((kind, plain(kind, random), plain(kind, random)) for kind in kinds), side_px)


def _shares(pairs: Iterable[tuple[str, Image.Image, Image.Image]], side_px: int) -> dict[str, Any]:
    """Of pairs by kind the share that is called a copy."""
    lines: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, query, match in pairs:
        told = explained(as_sent(query), stored(match, side_px))
        lines[kind]["pairs"] += 1
        lines[kind]["copies"] += told.verdict != "similar"
    count, called = (sum(line[part] for line in lines.values()) for part in ("pairs", "copies"))
    return {
        "pairs": count,
        "called_copies": round(called / max(count, 1), 4),
        "by_kind": {kind: round(line["copies"] / line["pairs"], 3) for kind, line in lines.items()},
    }


def _times(photos: list[Photo], side_px: int) -> dict[str, Any]:
    """A photograph explained by ten, one of which it was made of, through the child as the API asks it."""
    took_ms = []
    images = [_rgb(photo) for photo in photos]
    matches = [stored(image, side_px) for image in images]
    explainer = Explainer()
    try:
        explainer.explanations(matches[0], [matches[1]], "photographs")
        for number in range(min(QUESTIONS, len(images))):
            query = as_sent(images[number].crop((8, 8, *images[number].size)))
            asked = [matches[(number + step) % len(matches)] for step in range(MATCHES)]
            began = time.perf_counter()
            assert explainer.explanations(query, asked, "photographs") is not None
            took_ms.append((time.perf_counter() - began) * 1000)
    finally:
        explainer.close()
    p50, p99 = np.percentile(took_ms, [50, 99])
    return {"questions": len(took_ms), "p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}


def explained(query: Shown, match: Shown) -> Explained:
    """What the child would answer, in this process."""
    return PhotoQuery(decode(query.image).image, (query.width, query.height)).explained(match, "")


def as_sent(image: Image.Image, *, is_png: bool = True) -> Shown:
    """A picture as a query."""
    buffer = io.BytesIO()
    if is_png:
        image.save(buffer, "PNG", compress_level=1)
    else:
        image.save(buffer, "JPEG", quality=95)
    return Shown(buffer.getvalue(), *image.size)


def stored(image: Image.Image, side_px: int) -> Shown:
    """A picture as its record keeps it."""
    return Shown(decode(as_sent(image).image, side_px).thumbnail, *image.size)


def _rgb(photo: Photo) -> Image.Image:
    return as_rgb(to_alter(read(photo)))
