"""Which encoder's index answers: each has a folder of its own below the index folder, and the file SERVING names one.

index folder
├── SERVING                 the encoder that answers and the one before it, replaced by an atomic rename
├── report-autoencoder/     that encoder's index (gallery/generations/manifest.py)
└── contrast/               another one, which grows beside it
"""

import os
from pathlib import Path

import msgspec

from contract.errors import IndexDamagedError
from gallery.generations.files import is_sealed, read_whole, seal, unseal, write_whole
from gallery.generations.manifest import CURRENT, Manifest, current_name, read_manifest
from runtime.failpoints import failpoint

SERVING = "SERVING"


class Serving(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The encoder whose index answers, and the one that answered before; "" when there was none. Names, not fingerprints."""

    encoder: str
    before: str = ""


class ServingFile:
    """Says who answers; costs one stat while nothing changed. Not thread-safe: one caller at a time.

    Args:
        default: the encoder that answers as long as nobody was promoted.
    """

    def __init__(self, index_dir: Path, default: str) -> None:
        self._path = index_dir / SERVING
        self._default = Serving(default)
        self._seen: tuple[int, int] | None = None
        self._serving = self._default

    def current(self) -> Serving:
        """Who answers now.

        Raises:
            IndexDamagedError: the file is not what a promotion writes.
        """
        try:
            status = os.stat(self._path)
            seen = (status.st_ino, status.st_mtime_ns)
            if seen != self._seen:
                content = read_whole(self._path)
                body = unseal(content)[0] if is_sealed(content) else content  # promotions of earlier versions
                self._serving = msgspec.json.decode(body, type=Serving)
                self._seen = seen
        except FileNotFoundError:
            self._seen, self._serving = None, self._default
        except (OSError, ValueError, RecursionError, msgspec.DecodeError) as error:
            raise IndexDamagedError(
                f"{self._path} cannot be read: {error}. Delete it, so that LOOKALIKE_ENCODER answers, and promote again."
            ) from error
        return self._serving


def write_serving(index_dir: Path, serving: Serving) -> None:
    """Have another encoder answer: readers see the old or the new one."""
    failpoint("promote-before-rename")
    write_whole(index_dir / SERVING, seal(msgspec.json.encode(serving)))
    failpoint("promote-after-rename")


def index_names(index_dir: Path) -> list[str]:
    """Encoders that have an index, in the order of their names."""
    return sorted(path.parent.name for path in index_dir.glob(f"*/{CURRENT}"))


def manifests(index_dir: Path) -> dict[str, Manifest]:
    """Newest generation of every encoder's index, as far as it can be read."""
    found = {}
    for name in index_names(index_dir):
        try:
            generation = current_name(index_dir / name)
            if generation is not None:
                found[name] = read_manifest(index_dir / name, generation)
        except IndexDamagedError:  # or it was deleted in between; whoever answers from it says so
            continue
    return found


def old_layout(index_dir: Path) -> str:
    """A sentence when the folder still holds the one index of earlier versions, which is not read any more; else ""."""
    if not (index_dir / CURRENT).exists():
        return ""
    return (
        f"{index_dir} holds an index of an earlier version, which had no folder for each encoder. It is not read any more: "
        f"delete {CURRENT}, lock, generations, bases and tails there. A starting indexer builds the index anew from the feed."
    )
