"""How well encoders find: digits of the same label, and altered copies of stored images. Needs no TensorFlow.

The gallery is MNIST's 60,000 training digits. Queries against labels are its 10,000 test digits; altered copies are made of
digits that are in the gallery, and each must find the one that it was made of.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model import mnist
from model.encoder import Encoder, encoder_names, load_encoder
from model.training.alterations import ALTERATIONS
from runtime.progress import progress_line

_SEED = 1
COPIES = 1000
NEIGHBOURS = 10
# The baselines see what this encoder sees, so that they differ in the embedding alone.
BASELINE_PREPROCESSING = "report-autoencoder"
BASELINES = ("raw-pixels", "pca-64")
_BLOCK_QUERIES = 500

Embed = Callable[[Iterable[Image.Image]], NDArray[np.float32]]


@dataclass(frozen=True)
class Quality:
    """Shares of 1, higher is better.

    Attributes:
        p_at_1, p_at_10: neighbours that have the query's label, among the first 1 and 10.
        map_at_10: mean over queries of (sum of P@i over those i of 1..10 whose neighbour has the query's label) / 10.
        copies: by kind of alteration, copies whose nearest neighbour is the image that they were made of.
    """

    p_at_1: float
    p_at_10: float
    map_at_10: float
    copies: dict[str, float]


def digit_encoder_names() -> list[str]:
    """Names of the committed encoders that know digits."""
    return [name for name in encoder_names() if load_encoder(name).card["knows_drawings"]]


def evaluate(names: Iterable[str]) -> Iterator[tuple[str, Quality]]:
    """The quality of each committed encoder in `names`, then of the baselines, which embed nothing but pixels."""
    for name in names:
        yield name, quality_of(encoder_embed(load_encoder(name)), name)
    pixels = load_encoder(BASELINE_PREPROCESSING).pixels

    def raw(images: Iterable[Image.Image]) -> NDArray[np.float32]:
        return np.stack([pixels(image).ravel() for image in images])

    yield BASELINES[0], quality_of(raw, BASELINES[0])
    yield BASELINES[1], quality_of(_pca(raw, 64), BASELINES[1])


def encoder_embed(encoder: Encoder) -> Embed:
    """A function from images to embeddings (n, 128) float32, as indexing and querying do it."""
    return lambda images: np.stack([encoder.embed(encoder.pixels(image)) for image in images])


def quality_of(embed: Embed, name: str) -> Quality:
    """Measure one way of embedding; takes under a minute."""
    with progress_line(f"evaluating {name}", None, "steps") as progress:
        gallery = embed(map(Image.fromarray, mnist.images("train")))
        progress.update()
        found = nearest_rows(gallery, embed(map(Image.fromarray, mnist.images("test"))), NEIGHBOURS)
        is_same = mnist.labels("train")[found] == mnist.labels("test")[:, None]
        progress.update()
        copies = {}
        random = np.random.default_rng(_SEED)
        sources = random.choice(len(gallery), COPIES, replace=False)
        for kind, alter in ALTERATIONS.items():
            altered = [alter(Image.fromarray(mnist.images("train")[source]), random) for source in sources]
            copies[kind] = round(float(np.mean(nearest_rows(gallery, embed(altered), 1)[:, 0] == sources)), 4)
            progress.update()
    return Quality(*precision(is_same), copies)


def precision(is_same: NDArray[np.bool_]) -> tuple[float, float, float]:
    """P@1, P@k and mAP@k, from (n, k) bool: whether the i-th neighbour of each query has its label."""
    k = is_same.shape[1]
    at = is_same.cumsum(1) / np.arange(1, k + 1)
    figures = is_same[:, 0].mean(), is_same.mean(), (at * is_same).sum(1).mean() / k
    return round(float(figures[0]), 4), round(float(figures[1]), 4), round(float(figures[2]), 4)


def nearest_rows(gallery: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Indices (n, k) of each query's k nearest in the gallery, by Euclidean distance in float32, nearest first."""
    norms = np.einsum("ij,ij->i", gallery, gallery)
    blocks = []
    for start in range(0, len(queries), _BLOCK_QUERIES):
        # A query's own norm is the same for all of its distances.
        distances = norms - 2 * (queries[start : start + _BLOCK_QUERIES] @ gallery.T)
        first = np.argpartition(distances, k, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(distances, first, 1), axis=1, kind="stable")
        blocks.append(np.take_along_axis(first, order, 1))
    return np.concatenate(blocks)


def as_json(qualities: dict[str, Quality]) -> str:
    """The figures for programs."""
    return json.dumps({"encoders": {name: asdict(quality) for name, quality in qualities.items()}}, indent=2)


def as_table(qualities: dict[str, Quality]) -> str:
    """The figures for people."""
    width = max(map(len, qualities))
    head = ["P@1", "P@10", "mAP@10", *ALTERATIONS]
    lines = [f"{'':{width}}  precision by label      altered copies found first", f"{'':{width}}" + _row(head)]
    for name, quality in qualities.items():
        figures = [quality.p_at_1, quality.p_at_10, quality.map_at_10, *(quality.copies[kind] for kind in ALTERATIONS)]
        lines.append(f"{name:{width}}" + _row([f"{figure:.3f}" for figure in figures]))
    return "\n".join(lines)


def _row(cells: list[str]) -> str:
    return "".join(f"{cell:>8}" for cell in cells)


def _pca(embed: Embed, dimensions: int) -> Embed:
    """`embed`, rotated to the directions in which the gallery varies most, and only the first of them."""
    gallery = embed(map(Image.fromarray, mnist.images("train")))
    mean = gallery.mean(0)
    _, directions = np.linalg.eigh(np.cov(gallery - mean, rowvar=False))
    basis = directions[:, ::-1][:, :dimensions].astype(np.float32)
    return lambda images: (embed(images) - mean) @ basis
