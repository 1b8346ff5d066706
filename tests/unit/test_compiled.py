"""What compiles the search: its pages are given back once everything is compiled, and searches go on without them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COMPILED_DIR

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json
import sys
from pathlib import Path

import numpy as np
import psutil

from gallery.nearest.compiled import compile_search
from gallery.nearest.neighbours import Neighbours
from gallery.nearest.tree import build_tree, frozen


def resident_mb():
    maps = psutil.Process().memory_maps(grouped=False)
    return sum(each.rss for each in maps if "llvmlite" in each.path and each.perms.startswith("r-x")) / 1e6


compile_search(Path(sys.argv[1]))
compile_search(Path(sys.argv[1]))  # a second time, as tests and benchmarks do
embeddings = np.random.default_rng(0).standard_normal((5_000, 128), dtype=np.float32)
tree, row_of = build_tree(embeddings)
neighbours = Neighbours(frozen(embeddings[row_of]), frozen(row_of), tree, None)
live = frozen(np.ones(len(embeddings), np.bool_))
found = [int(neighbours.nearest(embedding, 1, live)[1][0]) for embedding in embeddings[:100]]
print(json.dumps([resident_mb(), found]))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells what is resident, and only there is it given back"
)
def test_a_program_that_searches_holds_no_compiler() -> None:
    command = [sys.executable, "-c", PROGRAM, str(COMPILED_DIR)]
    resident_mb, found = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    assert resident_mb < 5, "loading what was compiled needs 58 MB of LLVM's program"
    assert found == list(range(100))
