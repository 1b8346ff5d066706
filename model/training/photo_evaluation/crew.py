"""The processes, one a core, that decode, alter and describe photos. Tasks and results are small; a photo stays where it was decoded."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import DependencyError, RejectedError
from model.pictures.hypotheses import hypotheses
from model.training.photo_evaluation.describers import Describer, load_describer
from model.training.photo_evaluation.edits import EDITS, OTHERS, edited_copy
from model.training.photo_evaluation.photos import Photo, read, to_alter

# A chunk of copies is altered together with the photos after it, which lie beneath and beside them, so that each is decoded about once.
COPIES_CHUNK, PHOTOS_CHUNK = 4, 16

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ways:
    """How photos are described: names of encoders and peers, and where SSCD's weights are."""

    names: tuple[str, ...]
    sscd: Path | None = None

    def describers(self) -> list[Describer]:
        """Those ways, loaded once a process."""
        return [load_describer(name, self.sscd) for name in self.names]


@dataclass(frozen=True)
class Described:
    """A photo of a gallery: a hash of its pixels and what each way makes of it, (d,) by name."""

    pixels_sha256: bytes
    numbers: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Copies:
    """What each way makes of a photo's altered copies, in the order of `EDITS`.

    Attributes:
        numbers: (edits, d) by name.
        hypotheses: (edits, hypotheses, d) by the name of an encoder, the whole first; empty where they were not asked for.
    """

    numbers: dict[str, NDArray[Any]]
    hypotheses: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class CopiesTask:
    """Photos to alter: all but the last three, which are only others. The first `thorough` are also searched thoroughly."""

    ways: Ways
    photos: tuple[Photo, ...]
    thorough: int
    seed: int


class Crew(Protocol):
    """A map over tasks: results in their order, made by several processes."""

    def __call__(self, function: Callable[[Task], Result], tasks: Iterable[Task], /) -> Iterator[Result]:
        """What the function makes of each task."""


@contextmanager
def open_crew(processes: int) -> Iterator[Crew]:
    """So many processes; with one the work is done in this one.

    Raises:
        DependencyError: one of them ended.
    """
    if processes == 1:
        yield map
        return
    executor = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _ignore_interrupts)
    try:
        yield executor.map
    except BrokenProcessPool as error:
        raise DependencyError(
            "evaluation", "a process that decodes photos ended; was there enough memory? Try --processes 1."
        ) from error
    finally:
        executor.shutdown(cancel_futures=True)


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_photos(task: tuple[Ways, tuple[Photo, ...]]) -> list[Described | str]:
    """For each photo what it is described by, or the reason why it cannot be read."""
    ways, photos = task
    found: list[Described | str] = []
    for photo in photos:
        try:
            picture = read(photo)
        except RejectedError as error:
            found.append(error.reason)
            continue
        numbers = {way.name: way.describe(picture.image) for way in ways.describers()}
        found.append(Described(picture.pixels_sha256, numbers))
    return found


def describe_copies(task: CopiesTask) -> list[Copies]:
    """All edits of each photo, described."""
    loaded = [_to_alter(photo) for photo in task.photos]
    found = []
    for place, (photo, pixels_sha256) in enumerate(loaded[:-OTHERS]):
        others = [other for other, _ in loaded[place + 1 : place + 1 + OTHERS]]
        is_thorough = place < task.thorough
        numbers: dict[str, list[NDArray[Any]]] = {name: [] for name in task.ways.names}
        guessed: dict[str, list[NDArray[np.float32]]] = {}
        for edit in EDITS:
            copy = edited_copy(photo, others, edit, pixels_sha256, task.seed)
            for way in task.ways.describers():
                if is_thorough and way.encoder is not None:
                    all_of_them = np.stack([way.describe(picture) for _, picture in hypotheses(copy)])
                    guessed.setdefault(way.name, []).append(all_of_them)
                    numbers[way.name].append(all_of_them[0])
                else:
                    numbers[way.name].append(way.describe(copy))
        found.append(Copies(_stacked(numbers), _stacked(guessed)))
    return found


def _stacked(made: dict[str, list[NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    return {name: np.stack(each) for name, each in made.items()}


@lru_cache(maxsize=COPIES_CHUNK + OTHERS)
def _to_alter(photo: Photo) -> tuple[Image.Image, bytes]:
    picture = read(photo)
    return to_alter(picture), picture.pixels_sha256


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the first process, which ends the others
