"""Nearest neighbours in a base: a scikit-learn KDTree over its embeddings, kept as plain arrays on disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KDTree

LEAF_SIZE = 40
_ARRAYS = ("data", "idx_array", "node_data", "node_bounds")


def save_tree(folder: Path, embeddings: NDArray[np.float32]) -> None:
    """Build the tree over `embeddings` (n, d), n >= 1, and save its arrays as tree-*.npy."""
    state = KDTree(embeddings, leaf_size=LEAF_SIZE).__getstate__()
    for name, array in zip(_ARRAYS, state[:4], strict=True):
        np.save(folder / f"tree-{name}.npy", np.asarray(array), allow_pickle=False)


def load_tree(folder: Path) -> KDTree:
    """Map a saved tree read-only. Its files must have been checked: scikit-learn trusts what it is given."""
    arrays = [np.load(folder / f"tree-{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS]
    tree = KDTree(np.zeros((1, arrays[0].shape[1])), leaf_size=LEAF_SIZE)
    # The rest of the state are numbers that follow from the shape, so they come from a new tree of the same options.
    levels = int(np.log2(max(1, (len(arrays[0]) - 1) // LEAF_SIZE)) + 1)
    state = tree.__getstate__()
    tree.__setstate__((*arrays, state[4], levels, 2**levels - 1, *state[7:]))
    return tree


def nearest_rows(tree: KDTree, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances and rows of the k (at most n) nearest embeddings, nearest first.

    Args:
        query: (d,) float32.
    """
    distances, rows = tree.query(query[None].astype(np.float64), k=min(k, tree.data.shape[0]))
    return distances[0], rows[0]
