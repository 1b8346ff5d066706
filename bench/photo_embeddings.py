"""Embeddings of photographs to measure with: of photographs and parts of them, and, beyond those, mixtures of these embeddings.

Photo number i of the gallery is a file of the folder, and from the last file on a part of one: 4 to 50 % of its area, anywhere.
Queries are such parts too, other ones. What was embedded is kept, 2,000 a file, and so is an interrupted run.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.photographs import AREA_MAX, AREA_MIN, two_photographs
from contract.errors import RejectedError
from model.encoder import Encoder, load_encoder
from model.training.photo_evaluation.easy_edits import cropped
from model.training.photo_evaluation.photos import Photo, photos_in, read, to_alter
from runtime.progress import progress_line

REAL_MAX = 200_000
_PIECE = 2_000
_QUERIES = 10_000_000  # number of the first query


class PhotoEmbeddings:
    """Makes them, in as many processes as there are cores.

    Args:
        folder: where they are kept.
        photos: a folder of photographs; None for the two that scikit-learn brings.
        real_max: so many are of photographs and parts of them, and all others are mixtures.

    Attributes:
        file_count: photographs that there are.
    """

    def __init__(self, encoder: Encoder, folder: Path, photos: Path | None, real_max: int = REAL_MAX) -> None:
        self._encoder = encoder
        self._folder = folder
        self._photos = photos
        self._real_max = real_max
        self.file_count = len(photos_in(photos)) if photos else len(two_photographs())

    @property
    def how_made(self) -> str:
        """What stands beside every figure."""
        return (
            f"{self.file_count:,} photographs, and up to {self._real_max:,} of them and parts of them (4 to 50 % of the area);"
            " each other one is a mixture of two of those embeddings, moved as two parts of one photograph lie apart, at the"
            " length of a real one"
        )

    def gallery(self, n: int) -> NDArray[np.float32]:
        """(n, d) float32."""
        real = np.concatenate(list(self._real(range(0, min(n, self._real_max), _PIECE))))[: min(n, self._real_max)]
        return real if n <= len(real) else np.concatenate([real, _mixtures(real, n - len(real), self.file_count)])

    def queries(self, n: int) -> NDArray[np.float32]:
        """(n, d) float32 that are not in the gallery."""
        return np.concatenate(list(self._real(range(_QUERIES, _QUERIES + n, _PIECE))))[:n]

    def _real(self, starts: range) -> Iterator[NDArray[np.float32]]:
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"photos-{self._encoder.fingerprint}-{self.file_count}"
        paths = [self._folder / f"{name}-{start}.npy" for start in starts]
        missing = [(start, path) for start, path in zip(starts, paths, strict=True) if not path.exists()]
        if missing:
            embed = partial(_embed, self._encoder.name, self._photos, _PIECE)
            with (
                ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes,
                progress_line("embedding", _PIECE * len(missing), "photographs") as bar,
            ):
                for _ in processes.map(embed, *zip(*missing, strict=True)):
                    bar.update(_PIECE)
        for path in paths:
            yield np.load(path, allow_pickle=False)


def _embed(encoder_name: str, photos: Path | None, count: int, start: int, path: Path) -> None:
    encoder, files = load_encoder(encoder_name), photos_in(photos) if photos else []
    embeddings = [_embedding(encoder, files, number) for number in range(start, start + count)]
    unfinished = path.with_suffix(".tmp.npy")
    np.save(unfinished, np.stack(embeddings), allow_pickle=False)
    unfinished.rename(path)


def _embedding(encoder: Encoder, files: list[Photo], number: int) -> NDArray[np.float32]:
    random = np.random.default_rng(number)
    photo = _photo(files, number, random)
    if number >= max(len(files), 1):
        photo = cropped(photo, random.uniform(AREA_MIN, AREA_MAX), random)
    return encoder.embed(encoder.pixels(photo))


def _photo(files: list[Photo], number: int, random: np.random.Generator) -> Image.Image:
    """The photo of that number, or another one where that cannot be read."""
    place = number
    while files:
        try:
            return to_alter(read(files[place % len(files)]))
        except RejectedError:
            place = int(random.integers(len(files)))
    two = two_photographs()
    return two[number % len(two)]


def _mixtures(real: NDArray[np.float32], n: int, file_count: int) -> NDArray[np.float32]:
    random = np.random.default_rng(0)
    made = np.empty((n, real.shape[1]), np.float32)
    for start in range(0, n, _PIECE):
        count = min(_PIECE, n - start)
        one, other, part = random.integers(0, len(real), (3, count))
        # Numbers so far apart that they are of the same photograph.
        same = (part + file_count * random.integers(1, max(2, len(real) // file_count), count)) % len(real)
        share = random.uniform(0.5, 1, (count, 1)).astype(np.float32)
        moved = share * real[one] + (1 - share) * real[other] + (real[part] - real[same]) / np.sqrt(np.float32(2))
        lengths = np.linalg.norm(real[one], axis=1) / np.linalg.norm(moved, axis=1)
        made[start : start + count] = moved * lengths[:, None]
    return made
