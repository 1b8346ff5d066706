"""One file as an image to publish."""

import os
import stat
from datetime import UTC, datetime

from contract.errors import RejectedError
from contract.messages import IMAGE_SIZE_BYTES_MAX, check_value
from producers.ids import readable_name
from producers.outgoing import Failure, Outgoing

# What tells a picture's format lies within these; a film of gigabytes is not read to learn that it is none.
_HEAD_SIZE_BYTES = 4096
_TAIL_SIZE_BYTES = 64 * 1024


def read_image(path: str, image_id: str) -> Outgoing | Failure:
    """Read a file whole; whatever is wrong with it becomes a failure, never an exception."""
    read = _read(path, IMAGE_SIZE_BYTES_MAX)
    if isinstance(read, Failure):
        return read
    value, found = read
    modified = datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC)
    metadata: dict[str, object] = {
        "name": readable_name(path),
        "size_bytes": len(value),
        "modified": modified.isoformat().replace("+00:00", "Z"),
    }
    return Outgoing(path, image_id, value, metadata, stamp_of(found))


def check_file(path: str) -> Failure | None:
    """Why a file cannot be published, as far as its size and first bytes tell; None when they speak for a picture."""
    read = _read(path, 0)
    return read if isinstance(read, Failure) else None


def seems_whole(path: str) -> bool:
    """Whether a picture ends as its format should, as far as its last bytes tell.

    Only a hint to wait a little longer for somebody who writes slowly; what the embedder thinks of it is another matter.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(16)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL_SIZE_BYTES))
            tail = file.read()
    except OSError:
        return True  # Reading it for good tells what is wrong.
    if head.startswith(b"\xff\xd8"):
        return b"\xff\xd9" in tail
    if head.startswith(b"\x89PNG"):
        return b"IEND" in tail
    if head.startswith(b"RIFF"):
        return size >= int.from_bytes(head[4:8], "little") + 8
    return True


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does. The change time tells of a file that was overwritten and given its old time back."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(path: str, size_bytes: int) -> tuple[bytes, os.stat_result] | Failure:
    """The file's bytes, at least its head, and what it was when it was opened."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return Failure(path, "not-a-file", "It is not a regular file.")
            value = file.read(_HEAD_SIZE_BYTES)
            check_value(value)
            if found.st_size > IMAGE_SIZE_BYTES_MAX:
                detail = f"The file has {found.st_size} bytes, at most {IMAGE_SIZE_BYTES_MAX}."
                return Failure(path, "too-large", detail)
            # One byte more than allowed, in case the file grows meanwhile: it is refused further on.
            return value + file.read(max(0, size_bytes + 1 - len(value))), found
    except RejectedError as error:
        return Failure(path, error.reason, error.detail)
    except FileNotFoundError:
        return Failure(path, "vanished", "There is no such file (any more).")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name.
        return Failure(path, "unreadable", f"It cannot be read: {error}.")
