"""What a process loads: each library costs memory in every process that loads it."""

import subprocess
import sys


def test_scikit_learn_is_loaded_only_where_a_base_is_built() -> None:
    program = """
import sys
import numpy as np
import api.app, workers.indexer
from gallery.nearest.tree import build_tree
def is_loaded(): return any(name.startswith("sklearn.") for name in sys.modules)
build_tree(np.zeros((1, 1), np.float32))
assert not is_loaded()
build_tree(np.zeros((300, 1), np.float32))
assert is_loaded()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
