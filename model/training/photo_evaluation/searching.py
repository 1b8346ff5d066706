"""Brute force over described photos: how many are nearer than the right one, and who the nearest are. Blocks keep memory bounded."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.training.evaluate import precision

_BLOCK_ROWS = 4096
_BLOCK_QUERIES = 256


def squared_distances(queries: NDArray[Any], gallery: NDArray[Any]) -> NDArray[np.float32]:
    """Squared Euclidean distances (q, n) float32 of queries (q, d) to a gallery (n, d), each of any type of number."""
    asked = queries.astype(np.float32)
    found = np.empty((len(asked), len(gallery)), np.float32)
    lengths = np.einsum("ij,ij->i", asked, asked)[:, None]
    for at in range(0, len(gallery), _BLOCK_ROWS):
        rows = gallery[at : at + _BLOCK_ROWS].astype(np.float32)
        found[:, at : at + len(rows)] = lengths + np.einsum("ij,ij->i", rows, rows) - 2 * (asked @ rows.T)
    return found


def ranks(queries: NDArray[Any], originals: NDArray[np.intp], gallery: NDArray[Any]) -> NDArray[np.intp]:
    """For each query (q,) the number of photos found before its original, ties by their order in the gallery.

    Args:
        originals: (q,) rows of the gallery.
    """
    found = np.empty(len(queries), np.intp)
    for at in range(0, len(queries), _BLOCK_QUERIES):
        block = squared_distances(queries[at : at + _BLOCK_QUERIES], gallery)
        for row, (distances, original) in enumerate(zip(block, originals[at:], strict=False)):
            own = distances[original]
            found[at + row] = np.sum(distances < own) + np.sum(distances[:original] == own)
    return found


def nearest(queries: NDArray[Any], gallery: NDArray[Any], k: int) -> Iterator[list[tuple[float, int]]]:
    """For each query its k nearest, or all when they are fewer, as (distance, row of the gallery); ties by row."""
    k = min(k, len(gallery))
    for at in range(0, len(queries), _BLOCK_QUERIES):
        for squared in squared_distances(queries[at : at + _BLOCK_QUERIES], gallery):
            farthest = np.partition(squared, k - 1)[k - 1]
            rows = np.flatnonzero(squared <= farthest)
            order = rows[np.argsort(squared[rows], kind="stable")][:k]
            distances = np.sqrt(np.maximum(squared[order], 0))
            yield list(zip(distances.tolist(), order.tolist(), strict=True))


def precision_left_out(described: NDArray[Any], labels: NDArray[Any], k: int = 10) -> tuple[float, float, float]:
    """P@1, P@k and mAP@k of each photo (n, d) searched among all others; of fewer than k others, all count.

    Args:
        labels: (n,) classes.
    """
    k = min(k, len(described) - 1)
    is_same = np.empty((len(described), k), bool)
    for at in range(0, len(described), _BLOCK_QUERIES):
        block = squared_distances(described[at : at + _BLOCK_QUERIES], described)
        block[np.arange(len(block)), np.arange(at, at + len(block))] = np.inf
        first = np.argpartition(block, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(block, first, 1), axis=1, kind="stable")
        is_same[at : at + len(block)] = (
            labels[np.take_along_axis(first, order, 1)] == labels[at : at + len(block), None]
        )
    return precision(is_same)
