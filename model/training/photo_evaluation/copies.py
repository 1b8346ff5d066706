"""Altered copies searched in the gallery: the whole copy, and by encoders also its hypotheses, as effort=thorough does."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from model.pictures.hypotheses import NAMES, search_together
from model.training.photo_evaluation.crew import COPIES_CHUNK, CopiesTask, Crew, Ways, describe_copies
from model.training.photo_evaluation.edits import EDITS, OTHERS
from model.training.photo_evaluation.gallery import Gallery
from model.training.photo_evaluation.plan import Plan
from model.training.photo_evaluation.searching import nearest, ranks
from runtime.progress import progress_line

SHOWN = np.array([edit.shown for edit in EDITS])


@dataclass(frozen=True)
class Recalls:
    """Shares of altered copies whose photo is among the first m, m being the photographs that the copy shows.

    Attributes:
        photos: that were altered in each way.
        easy, hard: by edit.
    """

    photos: int
    easy: dict[str, float]
    hard: dict[str, float]
    mean_easy: float
    mean_hard: float


def choose(gallery: Gallery, count: int, seed: int) -> list[int]:
    """Rows of the photos to alter, in an order by chance: `count` different ones, or all where they are fewer.

    Raises:
        ConfigurationError: too few for a collage.
    """
    rows = gallery.different[gallery.different < gallery.count]
    if len(rows) <= OTHERS or count <= OTHERS:
        raise ConfigurationError(
            f"{min(len(rows), count)} photos to alter are too few: edits show up to {OTHERS + 1} at once. "
            "Name a folder with more, and at least as many --copies."
        )
    chosen: list[int] = np.random.default_rng(seed).permutation(rows)[:count].tolist()
    return chosen


def search_copies(
    gallery: Gallery, chosen: list[int], ways: Ways, plan: Plan, crew: Crew
) -> dict[str, dict[str, Recalls]]:
    """Recalls by way and effort."""
    originals = np.searchsorted(gallery.different, chosen)
    numbers = {name: each[gallery.different] for name, each in gallery.numbers.items()}
    whether: dict[tuple[str, str], list[NDArray[np.bool_]]] = defaultdict(list)
    described = (copies for chunk in crew(describe_copies, _tasks(gallery, chosen, ways, plan)) for copies in chunk)
    with progress_line("altering and searching", len(chosen)) as progress:
        for original, copies in zip(originals, described, strict=True):
            for name, queries in copies.numbers.items():
                asked = np.full(len(queries), original)
                whether[name, "normal"].append(ranks(queries, asked, numbers[name]) < SHOWN)
            for name, guessed in copies.hypotheses.items():
                whether[name, "thorough"].append(found_thoroughly(guessed, int(original), numbers[name]))
            progress.update()
    recalls: dict[str, dict[str, Recalls]] = defaultdict(dict)
    for (name, effort), found in whether.items():
        recalls[name][effort] = _recalls(np.stack(found))
    return recalls


def found_thoroughly(guessed: NDArray[np.float32], original: int, gallery: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each copy, given by the embeddings of its hypotheses (edits, hypotheses, d), finds its original among the first it shows."""
    return np.array(
        [
            original in [row for row, _, _ in first_thoroughly(embeddings, gallery, edit.shown)]
            for edit, embeddings in zip(EDITS, guessed, strict=True)
        ]
    )


def first_thoroughly(embeddings: NDArray[np.float32], gallery: NDArray[Any], k: int) -> list[tuple[int, float, str]]:
    """What effort=thorough answers: row, distance and hypothesis of the k nearest to a query's hypotheses (h, d), by the product's merge."""

    def search(asked: NDArray[np.float32]) -> Iterator[list[tuple[float, str]]]:
        for answer in nearest(asked, gallery, k):
            yield [(distance, f"{row:09}") for distance, row in answer]

    found = search_together(dict(zip(NAMES, embeddings, strict=True)), search, k)
    return [(int(row), distance, name) for row, distance, name in found]


def _tasks(gallery: Gallery, chosen: list[int], ways: Ways, plan: Plan) -> Iterator[CopiesTask]:
    photos = [gallery.photos[row] for row in chosen]
    for at in range(0, len(photos), COPIES_CHUNK):
        altered = min(COPIES_CHUNK, len(photos) - at)
        taken = tuple(photos[place % len(photos)] for place in range(at, at + altered + OTHERS))
        yield CopiesTask(ways, taken, plan.thorough_copies - at, plan.seed)


def _recalls(found: NDArray[np.bool_]) -> Recalls:
    """Of claims (photos, edits)."""
    shares = dict(zip([edit.name for edit in EDITS], found.mean(0).tolist(), strict=True))
    groups: dict[str, dict[str, float]] = {"easy": {}, "hard": {}}
    for edit in EDITS:
        groups[edit.group][edit.name] = round(shares[edit.name], 4)
    means = (round(float(np.mean(list(_of(shares, group)))), 4) for group in ("easy", "hard"))
    return Recalls(len(found), groups["easy"], groups["hard"], *means)


def _of(shares: Mapping[str, float], group: str) -> Iterator[float]:
    return (shares[edit.name] for edit in EDITS if edit.group == group)


def others_of(chosen: list[int], place: int) -> list[int]:
    """The rows that the copies of the photo at that place show beside it."""
    return [chosen[(place + step) % len(chosen)] for step in range(1, OTHERS + 1)]
