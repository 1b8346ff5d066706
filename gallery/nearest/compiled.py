"""Compiles the search when a program starts, so that no query waits for it."""

import hashlib
from pathlib import Path

import numba
import numpy as np

from gallery.nearest import bounds, contraction, lanes, pick, skim, walk
from gallery.nearest.appended import AppendedEmbeddings
from gallery.nearest.neighbours import ChosenRows, Neighbours
from gallery.nearest.tree import build_tree, frozen


def compile_search(cache_dir: Path) -> None:
    """Compile what searches: some 10 s the first time, then read from `cache_dir` in a fraction of a second.

    Where that folder cannot be written, as in a container with a read-only root, it is compiled at each start.
    """
    sources = [Path(str(module.__file__)).read_bytes() for module in (bounds, contraction, lanes, pick, skim, walk)]
    # numba looks for changes in the file of a function alone, not in those that it calls.
    folder = cache_dir / hashlib.sha256(b"".join(sources)).hexdigest()[:16]
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    skimmed = skim.aim_codes, skim.first_coordinates, skim.distances_of, skim.skim
    for function in (walk.walk_tree, walk.scan, *skimmed, pick.pick):
        try:
            function.enable_caching()
        except RuntimeError:  # numba's word for a folder that it cannot write to
            break
    embeddings = np.zeros((1, 1), np.float32)
    tree, row_of = build_tree(embeddings)
    live = frozen(np.ones(1, np.bool_))
    neighbours = Neighbours(frozen(embeddings), frozen(row_of), tree, None)
    neighbours.nearest(embeddings[0], 1, live)
    neighbours.nearest_chosen(embeddings[0], 1, ChosenRows(live, frozen(np.zeros(1, np.int32)), 1))
    for base in (tree.contraction, None):
        appended = AppendedEmbeddings(1, base)
        appended.append(embeddings)
        appended.first(1).nearest(embeddings[0], 1, live)
