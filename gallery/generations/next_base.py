"""Builds the next base from a published generation, in a process of its own."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gallery.generations.base import save_base
from gallery.generations.history import due
from gallery.generations.id_table import IdTable
from gallery.generations.kept import Kept
from gallery.generations.manifest import read_manifest
from gallery.generations.reader import Reader
from gallery.generations.replaced import Replaced
from gallery.generations.snapshot import Snapshot
from gallery.nearest.compiled import compile_search
from gallery.nearest.neighbours import build_neighbours
from runtime.failpoints import failpoint
from runtime.priority import BACKGROUND, give_way


def build_base(
    index_dir: Path, *, generation_name: str, base_name: str, horizon_ms: int = 0, compiled_dir: Path | None = None
) -> None:
    """Merge base and tail of a generation into the folder ``bases/<base_name>``. Ends when the parent process does.

    Args:
        horizon_ms: the effective time from which on earlier records are kept too.
        compiled_dir: where the compiled search is kept; None compiles it again when this process has not yet.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
        os.setsid()  # so that it gives way to the indexer too; it ends with that one anyway
        give_way(BACKGROUND)
    if compiled_dir is not None:
        compile_search(compiled_dir)
    snapshot = Reader(index_dir, fingerprint=None).load(read_manifest(index_dir, generation_name))
    failpoint("base-before-save")
    save_merged(snapshot, index_dir / "bases" / base_name, horizon_ms=horizon_ms)
    failpoint("base-after-save")


def save_merged(snapshot: Snapshot, folder: Path, *, horizon_ms: int) -> None:
    """Write everything that `snapshot` holds as a base, but of earlier records only what may still be asked for.

    Args:
        horizon_ms: the effective time from which on everything is kept.
    """
    kept = snapshot.kept()
    meant = kept.meant()
    is_due, tops = due(kept.ids, kept.positions, horizon_ms=horizon_ms)
    replaced = np.flatnonzero(~meant & ~is_due)
    replaced = replaced[np.lexsort(kept.positions[replaced].T[::-1])]
    (live, live_table), (deleted, deleted_table) = (
        _by_id(kept, np.flatnonzero(meant & (kept.is_put == is_put))) for is_put in (True, False)
    )
    (puts, puts_table), (deletes, deletes_table) = (
        _by_id(kept, replaced[kept.is_put[replaced] == is_put]) for is_put in (True, False)
    )
    rows = np.full(int(kept.ids.max(initial=-1)) + 1, -1, np.int64)
    rows[kept.ids[np.concatenate([live, deleted])]] = np.arange(len(live) + len(deleted))
    save_base(
        folder,
        live=live_table,
        deleted=deleted_table,
        embeddings=kept.embeddings_of(live),
        columns=kept.columns_of(live),
        replaced=Replaced(
            puts=puts_table,
            deletes=deletes_table,
            puts_of=rows[kept.ids[puts]],
            deletes_of=rows[kept.ids[deletes]],
            neighbours=build_neighbours(kept.embeddings_of(puts)),
            floor=snapshot.base.replaced.floor.raised(kept.positions[tops]),
        ),
        replaced_columns=kept.columns_of(puts),
    )


def _by_id(kept: Kept, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], IdTable]:
    """Numbers of records in the order of their ids, and these as a table; those of one id stay in their order."""
    ids = kept.image_ids(numbers)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    numbers = numbers[np.array(order, np.int64)]
    return numbers, IdTable.build([ids[place] for place in order], kept.positions[numbers])


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
