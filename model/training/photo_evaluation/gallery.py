"""Everything that is searched: the photos that could be read, each described in every way."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from model.training.photo_evaluation.crew import PHOTOS_CHUNK, Crew, Described, Ways, describe_photos
from model.training.photo_evaluation.photos import Photo, photos_in
from runtime.progress import progress_line


@dataclass(frozen=True)
class Gallery:
    """Photos and what each way makes of them.

    Attributes:
        count: of the photos by class, which come first; distractors follow.
        different: rows, ascending, of the first photo with each content: where a picture lies in several files, finding any is right.
        numbers: (n, d) by way.
        unreadable: files that were left out, by reason.
    """

    photos: list[Photo]
    count: int
    different: NDArray[np.intp]
    numbers: dict[str, NDArray[Any]]
    unreadable: dict[str, int]

    @property
    def labels(self) -> NDArray[Any]:
        """Classes of the photos that have one."""
        return np.array([photo.label for photo in self.photos[: self.count]])


def read_gallery(folder: Path, distractors: Path | None, ways: Ways, crew: Crew) -> Gallery:
    """Read and describe every photo in both folders.

    Raises:
        ConfigurationError: a folder is none, or holds no photo that can be read.
    """
    photos, others = photos_in(folder), photos_in(distractors) if distractors else []
    files = [*photos, *others]
    described: list[Described | str] = []
    tasks = ((ways, tuple(files[at : at + PHOTOS_CHUNK])) for at in range(0, len(files), PHOTOS_CHUNK))
    with progress_line("reading", len(files), "photos") as progress:
        for chunk in crew(describe_photos, tasks):
            described += chunk
            progress.update(len(chunk))
    readable = [place for place, each in enumerate(described) if isinstance(each, Described)]
    found = [each for each in described if isinstance(each, Described)]
    count = sum(place < len(photos) for place in readable)
    unreadable = Counter(each for each in described if isinstance(each, str))
    if not count:
        raise ConfigurationError(f"None of the {len(photos)} files in {folder} can be read: {dict(unreadable)}.")
    first = {each.pixels_sha256: row for row, each in reversed(list(enumerate(found)))}
    return Gallery(
        [files[place] for place in readable],
        count,
        np.array(sorted(first.values())),
        {name: np.stack([each.numbers.pop(name) for each in found]) for name in ways.names},
        dict(sorted(unreadable.items())),
    )
