"""Builds the next base from a published generation, in a process of its own."""

import multiprocessing
import os
import threading
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np

from gallery.generations.base import IdTable, save_base
from gallery.generations.columns import build_columns, merge_columns
from gallery.generations.manifest import read_manifest
from gallery.generations.reader import Reader
from gallery.generations.snapshot import Snapshot
from gallery.nearest.compiled import compile_search
from runtime.failpoints import failpoint


def build_base(index_dir: Path, *, generation_name: str, base_name: str, compiled_dir: Path | None = None) -> None:
    """Merge base and tail of a generation into the folder ``bases/<base_name>``. Ends when the parent process does.

    Args:
        compiled_dir: where the compiled search is kept; None compiles it again when this process has not yet.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
        os.nice(10)  # searches and ingest go first
    if compiled_dir is not None:
        compile_search(compiled_dir)
    snapshot = Reader(index_dir, fingerprint=None).load(read_manifest(index_dir, generation_name))
    failpoint("base-before-save")
    save_merged(snapshot, index_dir / "bases" / base_name)
    failpoint("base-after-save")


def save_merged(snapshot: Snapshot, folder: Path) -> None:
    """Write everything that `snapshot` holds as a base."""
    base, (rows, numbers) = snapshot.base, snapshot.live_rows()
    entries = snapshot.entries
    ids = [base.live.id_bytes(row) for row in rows.tolist()] + [entries[n].image_id.encode() for n in numbers.tolist()]
    positions = np.concatenate(
        [base.live.positions[rows], np.array([entries[n].position for n in numbers.tolist()], np.int64).reshape(-1, 5)]
    )
    embeddings = np.concatenate([base.neighbours.embeddings_of(rows), snapshot.embeddings[numbers]])
    order = sorted(range(len(ids)), key=ids.__getitem__)
    place = np.empty(len(ids), np.int64)
    place[order] = np.arange(len(ids))
    base_place = np.full(len(base.live), -1)
    base_place[rows] = place[: len(rows)]
    tail_columns = build_columns([entries[n].metadata for n in numbers.tolist()])
    deleted = snapshot.deleted()
    save_base(
        folder,
        live=IdTable.build([ids[i] for i in order], positions[order]),
        deleted=IdTable.build(sorted(deleted), [deleted[image_id] for image_id in sorted(deleted)]),
        embeddings=embeddings[order],
        columns=merge_columns([(base.columns, base_place), (tail_columns, place[len(rows) :])]),
    )


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
