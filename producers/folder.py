"""The files of a folder and all folders below it."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from producers.files import read_file, stamp_of
from producers.outgoing import Failure, Outgoing
from producers.state import State, fresh_file


@dataclass(frozen=True)
class Found:
    """A file that was met: its path to read, and its path below the folder, with `/`, which is its key."""

    path: str
    key: str
    stamp: tuple[int, ...]


def find_files(folder: str) -> Iterator[Found | Failure]:
    """All files below a folder, sorted within each; links are followed, and one that leads back up is a failure."""
    # A stack of our own, since folders may be nested deeper than Python recurses.
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(folder, "", frozenset())]
    while waiting:
        path, prefix, above = waiting.pop()
        try:
            here = os.stat(path)
            names = sorted(os.listdir(path))
        except OSError as error:
            yield Failure(path, "unreadable", f"The folder cannot be read: {error}.")
            continue
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            yield Failure(path, "link-loop", "The link leads back to a folder above it.")
            continue
        for name in names:
            below = os.path.join(path, name)
            try:
                found = os.stat(below)
            except OSError as error:
                yield Failure(below, "unreadable", f"It cannot be read: {error}.")
                continue
            if stat.S_ISDIR(found.st_mode):
                waiting.append((below, f"{prefix}{name}/", above | {identity}))
            else:
                yield Found(below, prefix + name, stamp_of(found))


def folder_images(files: list[Found | Failure], state: State) -> Iterator[Outgoing | Failure]:
    """Read the files one by one, and save the state now and then."""
    for file in files:
        state.save_if_due()
        yield file if isinstance(file, Failure) else read_file(file.path, file.key)


def is_state_file(file: Found | Failure, state: Path | None) -> bool:
    """Whether it is our own state file, which may lie in the folder."""
    if state is None or isinstance(file, Failure):
        return False
    return os.path.realpath(file.path) in (os.path.realpath(state), os.path.realpath(fresh_file(state)))
