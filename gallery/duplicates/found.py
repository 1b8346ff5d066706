"""What a run over all images found: its groups, kept in a file of its own that any process may read."""

import os
from pathlib import Path
from typing import Literal

import msgspec

from contract.errors import IndexDamagedError
from gallery.generations.files import read_whole, seal, unseal, write_whole
from gallery.generations.writer import lock_index

DuplicateClass = Literal["same bytes", "same pixels", "altered copy", "near"]
CLASSES: tuple[DuplicateClass, ...] = ("same bytes", "same pixels", "altered copy", "near")
# Members are compared with one of their group; the best one is compared with none.
NOBODY = -1
# In the folder of runs: the lock of the one that is going on, and how far it has come.
LOCK_FOLDER, PROGRESS = "running", "progress.json"


class Judgement(msgspec.Struct, frozen=True, array_like=True):
    """What a picture is to the one that it was compared with: as `model.verdicts.frames.Explained` says it.

    Attributes:
        is_copy: one is an altered copy of the other.
        is_reversed: the picture is the original, although fewer pixels or a later time speak against it.
    """

    is_copy: bool
    is_reversed: bool = False
    edits: list[tuple[str, float, str]] = []
    alignment: list[list[float]] = []
    residual: float = 0.0
    confidence: float = 0.0
    outline: tuple[list[list[float]], list[list[float]]] = ([], [])


class Duplicate(msgspec.Struct, frozen=True, array_like=True):
    """An image of a group.

    Attributes:
        log, partition, offset: the record that brought it; another record of its id is another image.
        of: place in the group of the image that it was compared with, -1 for the best one, which comes first.
        distance: to that one.
        judgement: of altered copies.
    """

    id: str
    log: str
    partition: int
    offset: int
    kafka_time_ms: int
    width: int
    height: int
    size_bytes: int
    of: int = NOBODY
    distance: float = 0.0
    judgement: Judgement | None = None


class DuplicateGroup(msgspec.Struct, frozen=True, array_like=True):
    """At least two images of one class, the best one first, the others in the same order."""

    kind: DuplicateClass
    members: list[Duplicate]


class FoundDuplicates(msgspec.Struct, frozen=True, kw_only=True):
    """What one run found.

    Attributes:
        run: names it; no two runs have the same.
        count: images that were compared.
        took_s: seconds that it took.
        unknown: images of which the store has no record; they are compared by their embeddings alone.
        judged: pairs that verdicts decided, now or in an earlier run.
        unjudged: pairs that are left for later runs; until then they are near ones.
    """

    run: str
    index_id: str
    generation: int
    encoder: str
    log: str
    offsets: dict[str, int]
    digest: str
    count: int
    max_distance: float
    finished_at_ms: int
    took_s: float
    unknown: int
    judged: int
    unjudged: int
    groups: list[DuplicateGroup]


class RunProgress(msgspec.Struct, frozen=True):
    """How far a run over an index has come: what it is at, and the share of that which is done, 0 to 1."""

    index_id: str
    step: str
    share: float
    max_distance: float
    generation: int


def found_path(folder: Path, index_id: str, max_distance: float) -> Path:
    """The file of the newest run over an index within a distance."""
    return folder / f"{index_id}-{max_distance:.6g}.json"


def read_found(path: Path) -> FoundDuplicates | None:
    """What the newest run found, None before the first.

    Raises:
        IndexDamagedError: the file is not what a run wrote.
    """
    try:
        return msgspec.json.decode(unseal(read_whole(path))[0], type=FoundDuplicates)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}. Delete it; the next run writes it anew.") from error


def write_found(path: Path, found: FoundDuplicates) -> None:
    """Put a run in the place of the one before it: readers see the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, seal(msgspec.json.encode(found)))


def read_progress(folder: Path) -> RunProgress | None:
    """How far the run has come that is going on, None without one."""
    lock = lock_index(folder / LOCK_FOLDER)
    if lock is not None:
        os.close(lock)
        return None
    try:
        return msgspec.json.decode(read_whole(folder / PROGRESS), type=RunProgress)
    except (OSError, ValueError, msgspec.DecodeError):
        return None
