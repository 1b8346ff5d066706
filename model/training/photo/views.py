"""Altered views of every photograph, made once, as the frozen front of the network sees them."""

import contextlib
import json
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from contract.errors import ConfigurationError, RejectedError
from contract.messages import check_value
from model.pictures.images import decode
from model.pictures.pillow import as_rgb
from model.training.photo import network
from model.training.photo.edits import edited_at_random
from model.training.photo.pretrained import load_weights
from runtime.progress import progress_line

# At this side the network learns; it is used at a larger one, since what is cropped looks larger (Touvron et al. 2019,
# arXiv 1906.06423).
VIEW_SIDE_PX = 160
# The photograph itself and eight copies.
VIEWS = 9
VIEWS_SEED = 1
PHOTOGRAPHS_MIN = 500
_WORKING_SIDE_PX = 300
_OTHERS = 3
_BLOCK_PHOTOGRAPHS = 256


@dataclass(frozen=True)
class Views:
    """What is learnt from.

    Attributes:
        paths: the photographs, sorted.
        maps: (photographs, VIEWS, VIEW_SIDE_PX / 8, VIEW_SIDE_PX / 8, 40) float16, on disk; the first view is the photograph itself.
    """

    paths: list[Path]
    maps: NDArray[np.float16]


def make_views(images: Path, folder: Path) -> Views:
    """The views of all photographs below `images`, kept in `folder`; made there unless they are already.

    Raises:
        ConfigurationError: there are too few photographs below `images`, or `folder` holds views of others.
    """
    candidates = _candidates(images)
    outline, file = folder / "views.json", folder / "views.npy"
    if not outline.exists():
        kept = _write(candidates, file)
        names = [str(path.relative_to(images)) for path in candidates]
        outline.write_text(json.dumps({"candidates": names, "kept": kept, "views": VIEWS, "side_px": VIEW_SIDE_PX}))
    written = json.loads(outline.read_text())
    names = [str(path.relative_to(images)) for path in candidates]
    if (written["candidates"], written["views"], written["side_px"]) != (names, VIEWS, VIEW_SIDE_PX):
        raise ConfigurationError(f"{folder} holds views of other photographs than {images}: delete it to start anew.")
    paths = [candidates[place] for place in written["kept"]]
    if len(paths) < PHOTOGRAPHS_MIN:
        raise ConfigurationError(
            f"{images} holds {len(paths)} photographs that can be decoded, of {len(candidates)} files that look like some; at least "
            f"{PHOTOGRAPHS_MIN} are needed to learn what tells them apart."
        )
    return Views(paths, np.load(file, mmap_mode="r")[: len(paths)])


def load_photograph(path: Path, side_px: int = _WORKING_SIDE_PX) -> Image.Image:
    """A photograph upright in RGB, transparent on white, its longer side at most `side_px`."""
    image = as_rgb(decode(path.read_bytes()).image)
    scale = min(1.0, side_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def squeezed(image: Image.Image, side_px: int) -> NDArray[np.uint8]:
    """Pixels (side, side, 3), as the encoder's preprocessing makes them."""
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BILINEAR, reducing_gap=3.0))


def _candidates(images: Path) -> list[Path]:
    """Every file below `images` that begins as a picture does, sorted."""
    found = sorted(path for path in images.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [path for path in found if _begins_as_picture(path)]


def _begins_as_picture(path: Path) -> bool:
    with path.open("rb") as file:
        beginning = file.read(64)
    try:
        check_value(beginning)
    except RejectedError:
        return False
    return True


def _write(paths: list[Path], file: Path) -> list[int]:
    """Write the views of all photographs that can be decoded; returns which those are."""
    model = network.front(load_weights(), VIEW_SIDE_PX)
    kept: list[int] = []
    unfinished = file.with_suffix(".tmp")
    maps = np.lib.format.open_memmap(unfinished, "w+", np.float16, (len(paths), VIEWS, *model.output_shape[1:]))
    with (
        multiprocessing.get_context("spawn").Pool(os.cpu_count(), _remember, (paths,)) as pool,
        progress_line("altering photographs", len(paths), "photographs") as progress,
    ):
        for block in np.array_split(np.arange(len(paths)), -(-len(paths) // _BLOCK_PHOTOGRAPHS)):
            for place, pixels in zip(block.tolist(), pool.map(_views_of, block.tolist()), strict=True):
                if pixels is not None:
                    maps[len(kept)] = model.predict_on_batch(pixels.astype(np.float32))
                    kept.append(place)
                progress.update()
    maps.flush()
    unfinished.replace(file)
    return kept


_paths: list[Path] = []


def _remember(paths: list[Path]) -> None:
    _paths[:] = paths


def _views_of(place: int) -> NDArray[np.uint8] | None:
    """Pixels (VIEWS, VIEW_SIDE_PX, VIEW_SIDE_PX, 3) of a photograph and its copies; None if it cannot be decoded."""
    random = np.random.default_rng((VIEWS_SEED, place))
    try:
        photograph = load_photograph(_paths[place])
    except RejectedError:
        return None
    others: list[Image.Image] = []
    while len(others) < _OTHERS:
        with contextlib.suppress(RejectedError):
            others.append(load_photograph(_paths[int(random.integers(len(_paths)))]))
    copies = [edited_at_random(photograph, random, others) for _ in range(VIEWS - 1)]
    return np.stack([squeezed(view, VIEW_SIDE_PX) for view in (photograph, *copies)])
