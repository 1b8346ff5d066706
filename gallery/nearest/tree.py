"""The tree: a scikit-learn KDTree over a contraction of the embeddings, as plain arrays for `gallery/nearest/walk.py`.

scikit-learn decides which rows lie together. Node v has the children 2v + 1 and 2v + 2, and the last level are the leaves, from
left to right. Rows lie in the order of the leaves, so that a leaf is read in one run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError
from gallery.nearest.contraction import CODE_MAX, COORDINATES, Contraction, fit_contraction
from gallery.nearest.lanes import BLOCK, block_starts, pack_blocks
from gallery.nearest.walk import walk_tree

LEAF_SIZE = 256  # rows; 128 costs the same at 60,000 digits and a tenth more at a million
_CHUNK = 65_536


@dataclass(frozen=True)
class Tree:
    """The tree's arrays; none is written to.

    Attributes:
        boxes: (nodes, 2, 32) float32, lower and upper corner around the contraction of a node's rows.
        leaf_starts: (leaves + 1,) int64, place of each leaf's first row, and n.
        blocks: (blocks, 256) int16, first 8 codes of each row, see `pack_blocks`.
        codes: (n, 32) int16, one cache line a row.
        centre, axes, low: of the contraction.
        unit: (1,) float64, of the contraction.
    """

    boxes: NDArray[np.float32]
    leaf_starts: NDArray[np.int64]
    blocks: NDArray[np.int16]
    codes: NDArray[np.int16]
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    low: NDArray[np.float64]
    unit: NDArray[np.float64]

    @cached_property
    def contraction(self) -> Contraction:
        """The contraction that boxes and codes are in."""
        return Contraction(frozen(self.centre), frozen(self.axes), frozen(self.low), float(self.unit[0]))

    @cached_property
    def block_starts(self) -> NDArray[np.int64]:
        """First block of each leaf, and their count."""
        return frozen(block_starts(self.leaf_starts))

    @cached_property
    def capacity(self) -> int:
        """Most rows of a leaf."""
        return int(np.diff(self.leaf_starts).max())

    def search(
        self,
        embeddings: NDArray[np.float32],
        row_of: NDArray[np.int32],
        is_live: NDArray[np.bool_],
        query: NDArray[np.float32],
        max_distance: float,
        distances: NDArray[np.float64],
        rows: NDArray[np.int64],
        work: NDArray[np.int64],
    ) -> int:
        """Fill `distances` and `rows` from the front and return how many were found; arguments as for `walk_tree`."""
        found: int = walk_tree(
            embeddings, row_of, is_live, self.boxes, self.leaf_starts, self.block_starts, self.blocks, self.codes,
            self.capacity, *self.contraction.arguments, query, max_distance, distances, rows, work,
        )  # fmt: skip
        return found

    def save(self, folder: Path) -> None:
        """Write every array as tree-*.npy."""
        for field in fields(self):
            np.save(folder / f"tree-{field.name}.npy", getattr(self, field.name), allow_pickle=False)

    def problem(self, n: int, d: int) -> str:
        """What is wrong with these arrays for embeddings (n, d), so that walking them could leave an array; "" if nothing is."""
        leaves, blocks = self.leaf_starts.size - 1, self.blocks.size // BLOCK
        expected = {
            "boxes": ((2 * leaves - 1, 2, COORDINATES), np.float32),
            "leaf_starts": ((leaves + 1,), np.int64),
            "blocks": ((blocks, BLOCK), np.int16),
            "codes": ((n, COORDINATES), np.int16),
            "centre": ((d,), np.float64),
            "axes": ((COORDINATES, d), np.float64),
            "low": ((COORDINATES,), np.float64),
            "unit": ((1,), np.float64),
        }
        if problem := misfit(self, expected):
            return problem
        if leaves < 1 or leaves & (leaves - 1):
            return f"there are {leaves} leaves, not a power of two"
        if self.leaf_starts[0] != 0 or self.leaf_starts[-1] != n or (np.diff(self.leaf_starts) < 1).any():
            return "the leaves do not divide the rows"
        if block_starts(self.leaf_starts)[-1] != blocks:
            return f"there are {blocks} blocks, not as many as the leaves need"
        if any(array.min() < 0 or array.max() > CODE_MAX for array in (self.codes, self.blocks)):
            return f"a code is not in [0, {CODE_MAX}]"
        if not (self.boxes[:, 0] <= self.boxes[:, 1]).all():
            return "a box's lower corner is above its upper one"
        if not self.contraction.is_sound:
            return "the contraction is not one"
        return ""


def load_tree(folder: Path) -> Tree:
    """Map a tree read-only; whether its arrays fit together is for `problem` to say.

    Raises:
        IndexDamagedError: a file is not an array.
    """
    return Tree(**{field.name: mapped(folder / f"tree-{field.name}.npy") for field in fields(Tree)})


def build_tree(embeddings: NDArray[np.float32], leaf_size: int = LEAF_SIZE) -> tuple[Tree, NDArray[np.int32]]:
    """The tree over embeddings (n, d), n >= 1, finite, and the row number of each place in its order (n,)."""
    contraction = fit_contraction(embeddings)
    images = np.concatenate([contraction.apply(chunk) for chunk in _chunks(embeddings)])
    row_of, leaf_starts = _leaves(images, leaf_size)
    images = images[row_of]
    codes = contraction.codes(images)
    tree = Tree(
        boxes=frozen(_boxes(images, leaf_starts)),
        leaf_starts=frozen(leaf_starts),
        blocks=frozen(pack_blocks(codes, leaf_starts)),
        codes=frozen(codes),
        centre=contraction.centre,
        axes=contraction.axes,
        low=contraction.low,
        unit=np.array([contraction.unit]),
    )
    return tree, row_of.astype(np.int32)


def misfit(arrays: object, expected: Mapping[str, tuple[tuple[int, ...], Any]]) -> str:
    """Which array is not of its expected shape and dtype, contiguous; "" where all are. `arrays` has them as attributes."""
    for name, (shape, dtype) in expected.items():
        array = getattr(arrays, name)
        if array.shape != shape or array.dtype != dtype or not array.flags.c_contiguous:
            return f"{name} is {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
    return ""


def mapped(path: Path) -> NDArray[Any]:
    """A saved array, mapped read-only. A plain view is cheaper to index than numpy's memmap class.

    Raises:
        IndexDamagedError: the file is missing or not an array.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError, OverflowError, SyntaxError, TokenError) as error:
        # numpy reads the head of a file as a Python literal, so a damaged one fails in as many ways.
        raise IndexDamagedError(f"{path} cannot be read: {error}.") from error
    return array.view(np.ndarray)


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A read-only view. What numba compiles depends on whether arrays are read-only, so all searches are given such."""
    view = array.view()
    view.flags.writeable = False
    return view


def _leaves(images: NDArray[np.float64], leaf_size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (n,) in the order of the leaves, and where each leaf begins, with n at the end."""
    n = len(images)
    if n <= leaf_size:
        return np.arange(n), np.array([0, n])
    # 70 MB of memory, which a process that only searches does without.
    from sklearn.neighbors import KDTree

    _, row_of, nodes, _ = (np.asarray(array) for array in KDTree(images, leaf_size=leaf_size).get_arrays())
    return row_of, np.append(nodes["idx_start"][len(nodes) // 2 :], n).astype(np.int64)


def _chunks(embeddings: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(embeddings), _CHUNK):
        yield embeddings[start : start + _CHUNK]


def _boxes(images: NDArray[np.float64], leaf_starts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(nodes, 2, 32): the corners around each node's images, from the leaves up; outwards to the next float32."""
    lower = [np.minimum.reduceat(images, leaf_starts[:-1])]
    upper = [np.maximum.reduceat(images, leaf_starts[:-1])]
    while len(lower[0]) > 1:
        lower.insert(0, lower[0].reshape(-1, 2, COORDINATES).min(1))
        upper.insert(0, upper[0].reshape(-1, 2, COORDINATES).max(1))
    corners = np.stack([np.concatenate(lower), np.concatenate(upper)], 1).astype(np.float32)
    away = np.array([-np.inf, np.inf], np.float32)[:, None]
    return np.ascontiguousarray(np.nextafter(corners, away))
