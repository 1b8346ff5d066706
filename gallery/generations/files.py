"""Files of an index folder: opened without waiting, replaced whole; small ones are sealed, a checksum standing before all else."""

import hashlib
import mmap
import os
import shutil
import stat
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contract.errors import IndexDamagedError

_HEAD = b'{"checksum":"'
_HEX_SIZE = 64


def seal(body: bytes) -> bytes:
    """A JSON object with a first field ``checksum``, over every byte behind it.

    Args:
        body: a JSON object of at least one field, as compact JSON.
    """
    rest = b'",' + body[1:]
    return _HEAD + hashlib.sha256(rest).hexdigest().encode() + rest


def is_sealed(content: bytes) -> bool:
    """Whether a file begins as a sealed one does; one of an earlier version does not."""
    return content.startswith(_HEAD)


def unseal(content: bytes) -> tuple[bytes, str]:
    """The object as it was sealed, and its checksum in hex.

    Raises:
        ValueError: the content is not what was sealed.
    """
    said, rest = content[len(_HEAD) : len(_HEAD) + _HEX_SIZE], content[len(_HEAD) + _HEX_SIZE :]
    found = hashlib.sha256(rest).hexdigest()
    if not is_sealed(content) or said != found.encode():
        raise ValueError(f"it has checksum {found}, and says {said.decode('ascii', 'replace')}")
    return b"{" + rest[2:], found


def open_file(path: Path) -> BufferedReader:
    """Open a file to read, never to wait: what stands in its place and is no file (a folder, a pipe) is refused.

    Raises:
        OSError: it cannot be opened or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path} is not a file")
    return os.fdopen(descriptor, "rb")


def read_whole(path: Path) -> bytes:
    """The whole of a file; raises as `open_file`."""
    with open_file(path) as file:
        return file.read()


def mapped_bytes(path: Path) -> NDArray[np.uint8]:
    """A file's bytes, mapped read-only; they stay when the file is deleted.

    Raises:
        IndexDamagedError: the file is missing or empty.
    """
    try:
        with open_file(path) as file:
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}.") from error


def discard(path: Path) -> None:
    """Remove whatever stands at `path`, a folder with all in it, of a link only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Have a folder at `path`; what is not one goes."""
    if not path.is_dir():
        discard(path)
        path.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that readers see the old or the new one, also after a power cut."""
    unfinished = path.with_name(path.name + ".tmp")
    discard(unfinished)
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    if path.is_dir() and not path.is_symlink():
        discard(path)
    unfinished.rename(path)
