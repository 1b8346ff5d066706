"""The tail's file as its one writer holds it open: only its end grows, and what was published of it never changes."""

import hashlib
import os
from pathlib import Path

from gallery.generations.files import discard, read_whole
from gallery.generations.manifest import TailFile


class TailAppender:
    """Appends to a tail file, with a running checksum over all of it.

    What a crash left behind the first `size_bytes` was never published, and is cut off.
    """

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._name = path.name
        if path.is_symlink():  # what it leads to is not ours to write
            content = read_whole(path)
            discard(path)
            path.write_bytes(content)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._descriptor, size_bytes)
        self._sha256 = hashlib.sha256(path.read_bytes())
        self._size_bytes = os.lseek(self._descriptor, 0, os.SEEK_END)

    def append(self, blob: bytes) -> None:
        """Write entries as `gallery.generations.tail.encode_entries` makes them."""
        view = memoryview(blob)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._sha256.update(blob)
        self._size_bytes += len(blob)

    def sync(self) -> None:
        """Have everything on the disk."""
        os.fdatasync(self._descriptor)

    def described(self, entries: int) -> TailFile:
        """What a manifest says of the file as it is now.

        Args:
            entries: how many it holds.
        """
        return TailFile(self._name, entries, self._size_bytes, self._sha256.hexdigest())

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def new_tail_file(index_dir: Path, base_name: str) -> TailAppender:
    """The empty tail of a base."""
    path = index_dir / "tails" / f"{base_name}.tail"
    discard(path)
    return TailAppender(path, 0)
