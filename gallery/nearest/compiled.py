"""Compiles the search when a program starts, so that no query waits for it."""

import ctypes
import hashlib
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np

from gallery.nearest import bounds, contraction, lanes, pick, skim, together, walk
from gallery.nearest.appended import AppendedEmbeddings
from gallery.nearest.lanes import BYTE_ROWS
from gallery.nearest.neighbours import ChosenRows, Neighbours
from gallery.nearest.tree import build_tree, frozen

# In the folder where another process has compiled all of it.
_DONE = "done"
_MADV_DONTNEED = 4
_ROOT = Path(__file__).parents[2]


def compile_search(cache_dir: Path) -> None:
    """Compile what searches: some 10 s the first time, then read from `cache_dir` in a fraction of a second.

    The first time another process compiles, since that takes 70 MB which this one would keep. Where the folder cannot be
    written, as in a container with a read-only root, this one compiles at each start.
    """
    sources = [
        Path(str(module.__file__)).read_bytes() for module in (bounds, contraction, lanes, pick, skim, together, walk)
    ]
    # numba looks for changes in the file of a function alone, not in those that it calls.
    folder = cache_dir / hashlib.sha256(b"".join(sources)).hexdigest()[:16]
    if _is_cached_in(folder) and not (folder / _DONE).exists():
        command = [sys.executable, "-m", __name__, str(folder.resolve())]
        subprocess.run(command, cwd=_ROOT, stdin=subprocess.DEVNULL, check=False)  # what it did not do is done here
    _use_once()
    _give_back_the_compiler()


def _compile_for_others(folder: Path) -> None:
    if _is_cached_in(folder):
        _use_once()
        (folder / _DONE).touch()


def _is_cached_in(folder: Path) -> bool:
    """Have numba keep what it compiles in a folder; whether it can."""
    numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    skimmed = skim.aim_codes, skim.first_coordinates, skim.distances_of, skim.skim, together.skim_together
    for function in (walk.walk_tree, walk.scan, *skimmed, pick.pick):
        try:
            function.enable_caching()
        except RuntimeError:  # numba's word for a folder that it cannot write to
            return False
    return True


def _use_once() -> None:
    embeddings = np.zeros((1, 1), np.float32)
    tree, row_of = build_tree(embeddings)
    live = frozen(np.ones(1, np.bool_))
    neighbours = Neighbours(frozen(embeddings), frozen(row_of), tree, None)
    neighbours.nearest(embeddings[0], 1, live)
    neighbours.nearest_chosen(embeddings[0], 1, ChosenRows(live, frozen(np.zeros(1, np.int32)), 1))
    for base in (tree.contraction, None):
        appended = AppendedEmbeddings(1, base)
        for number in range(2 * BYTE_ROWS):
            appended.append(embeddings + number)
        appended.first(1).nearest(embeddings[0], 1, live)
        all_live = np.ones(2 * BYTE_ROWS, np.bool_)
        appended.first(len(all_live)).nearest_all(np.zeros((4, 1), np.float32), 1, all_live, np.full(4, np.inf))


def _give_back_the_compiler() -> None:
    """Let go of the pages of LLVM's program, 58 MB, which only loading what was compiled needed. Whoever needs one again, reads it
    from the file."""
    maps = Path("/proc/self/maps")
    if not maps.exists():  # not Linux
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for line in maps.read_text().splitlines():
        addresses, permissions, *_ = line.split()
        if "llvmlite" in line and permissions == "r-xp":  # nobody has ever written to it
            start, end = (int(address, 16) for address in addresses.split("-"))
            madvise(start, end - start, _MADV_DONTNEED)


if __name__ == "__main__":
    _compile_for_others(Path(sys.argv[1]))
