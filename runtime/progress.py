"""Progress of long work on stderr: one rewritten line on a terminal, sparse lines elsewhere."""

import sys
from typing import Any

from tqdm import tqdm


def progress_line(title: str, total: int | None, unit: str = "images") -> "tqdm[Any]":
    """A counter to `update(n)` and `close()`; shows what is done, the rate and the time left."""
    line: tqdm[Any] = tqdm(
        desc=title,
        total=total,
        unit=f" {unit}",
        file=sys.stderr,
        mininterval=0.2 if sys.stderr.isatty() else 5.0,
        ascii=not sys.stderr.isatty(),
        dynamic_ncols=sys.stderr.isatty(),
    )
    return line
