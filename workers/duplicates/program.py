"""One run: everything of a generation compared with everything, and what was found put into its file."""

import os
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from contract.errors import LookalikeError
from contract.settings import Settings
from gallery.duplicates.found import (
    LOCK_FOLDER,
    NOBODY,
    PROGRESS,
    DuplicateGroup,
    FoundDuplicates,
    RunProgress,
    found_path,
    write_found,
)
from gallery.duplicates.grouping import Grouped, Grouping, Tell
from gallery.generations.files import discard, write_whole
from gallery.generations.manifest import Manifest
from gallery.generations.snapshot import Snapshot
from gallery.generations.writer import lock_index
from gallery.store.store import Store
from model.encoder import Encoder
from runtime.progress import progress_line
from workers.duplicates.gathering import GatheredImages, apart_rows, gather
from workers.duplicates.judging import Judging, verdicts_version

if TYPE_CHECKING:
    from tqdm import tqdm

# Some six minutes on two cores; a run that leaves pairs says how many, and the next one goes on.
JUDGED_MAX = 10_000
PROGRESS_INTERVAL_S = 0.5
# Runs of other indexes and other distances are kept until there are more files than this.
FILES_KEPT = 16
LOCK_TRIES, LOCK_PAUSE_S = 5, 0.1


def run_duplicates(
    settings: Settings,
    snapshot: Snapshot,
    encoder: Encoder,
    *,
    max_distance: float | None,
    judged_max: int,
    is_quiet: bool,
) -> FoundDuplicates:
    """Search all that the snapshot holds, and keep what was found for every API of this machine.

    Args:
        max_distance: farther images are not compared; None is what the encoder's card says.
        judged_max: pairs that verdicts decide in this run beyond those that earlier runs decided.
        is_quiet: progress goes to its file alone.

    Raises:
        LookalikeError: another run is going on.
        DependencyError: Cassandra did not answer.
    """
    folder = settings.duplicates_dir
    distance = encoder.copies_within if max_distance is None else max_distance
    lock = _lock(folder)
    if lock is None:
        raise LookalikeError(
            f"Another search for duplicates is going on in {folder}. Wait for it: it is told by GET /v1/duplicates."
        )
    try:
        with closing(_Progress(folder / PROGRESS, snapshot.manifest, distance, is_quiet=is_quiet)) as progress:
            with closing(Store.connect(settings)) as store:
                found = search_duplicates(
                    snapshot,
                    store,
                    encoder,
                    settings.kafka_topic,
                    folder,
                    max_distance=distance,
                    judged_max=judged_max,
                    tell=progress,
                )
            write_found(found_path(folder, snapshot.manifest.index_id, distance), found)
            _prune(folder)
        return found
    finally:
        os.close(lock)


def search_duplicates(
    snapshot: Snapshot,
    store: Store,
    encoder: Encoder,
    topic: str,
    folder: Path,
    *,
    max_distance: float,
    judged_max: int = JUDGED_MAX,
    tell: Tell = lambda *_: None,
    clock: Callable[[], float] = time.time,
) -> FoundDuplicates:
    """What is duplicate in a snapshot.

    Args:
        topic: of the collection.
        folder: where judgements are remembered.
        clock: seconds since 1970.
    """
    began_s = clock()
    tell("reading", 0)
    images = gather(snapshot, store.records)
    judging = Judging(
        store.records,
        images.keys,
        "digits" if encoder.card["knows_drawings"] else "photographs",
        folder / f"{snapshot.manifest.index_id}-{verdicts_version()}.verdicts",
        new_max=judged_max,
        tell=lambda share: tell("judging", share),
    )
    grouping = Grouping(
        images.embeddings,
        [record.bytes_sha256 if record else b"" for record in images.records],
        [record.pixels_sha256 if record else b"" for record in images.records],
        apart_rows(images, store.distinct.sets(topic)),
        max_distance,
        judging,
        tell,
    )
    groups = [_group(images, grouped) for grouped in grouping.groups()]
    manifest = snapshot.manifest
    return FoundDuplicates(
        run=uuid.uuid4().hex[:16],
        index_id=manifest.index_id,
        generation=manifest.generation,
        encoder=manifest.encoder,
        log=manifest.log,
        offsets=manifest.offsets,
        digest=manifest.digest,
        count=len(images.ids),
        max_distance=max_distance,
        finished_at_ms=int(clock() * 1000),
        took_s=round(clock() - began_s, 3),
        unknown=images.unknown,
        judged=judging.judged,
        unjudged=judging.unjudged,
        groups=groups,
    )


def _lock(folder: Path) -> int | None:
    """The lock of the one run, asked for a few times: who only looks whether a run is going on holds it for a moment too."""
    for _ in range(LOCK_TRIES):
        if (lock := lock_index(folder / LOCK_FOLDER)) is not None:
            return lock
        time.sleep(LOCK_PAUSE_S)
    return None


def _group(images: GatheredImages, grouped: Grouped) -> DuplicateGroup:
    place_of = {row: place for place, row in enumerate(grouped.rows)}
    return DuplicateGroup(
        grouped.kind,
        [
            msgspec.structs.replace(
                images.duplicate(row),
                of=place_of.get(of, NOBODY),
                distance=distance,
                judgement=grouped.judgements.get(row),
            )
            for row, of, distance in zip(grouped.rows, grouped.of, grouped.distances, strict=True)
        ],
    )


class _Progress:
    """Tells a person on stderr and everybody else in a file."""

    def __init__(self, path: Path, manifest: Manifest, max_distance: float, *, is_quiet: bool) -> None:
        self._path = path
        self._told = RunProgress(manifest.index_id, "", 0.0, max_distance, manifest.generation)
        self._written_s = 0.0
        self._is_quiet = is_quiet
        self._line: tqdm[Any] | None = None

    def __call__(self, step: str, share: float) -> None:
        if step != self._told.step:
            self._close_line()
            self._told = msgspec.structs.replace(self._told, step=step, share=0.0)
            self._line = None if self._is_quiet else progress_line(step, 100, "%")
        self._told = msgspec.structs.replace(self._told, share=min(1.0, self._told.share + share))
        if self._line is not None:
            self._line.update(round(100 * self._told.share) - self._line.n)
        if share == 0 or time.monotonic() - self._written_s >= PROGRESS_INTERVAL_S:
            write_whole(self._path, msgspec.json.encode(self._told))
            self._written_s = time.monotonic()

    def close(self) -> None:
        self._close_line()
        discard(self._path)

    def _close_line(self) -> None:
        if self._line is not None:
            self._line.close()


def _prune(folder: Path) -> None:
    """Delete the oldest files of runs."""
    files = [path for path in folder.iterdir() if path.suffix in (".json", ".verdicts") and path.name != PROGRESS]
    for path in sorted(files, key=lambda path: path.stat().st_mtime)[:-FILES_KEPT]:
        discard(path)
