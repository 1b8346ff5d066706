"""One file as an image to publish."""

import os
import stat
from datetime import UTC, datetime
from pathlib import PurePath

from contract.messages import IMAGE_SIZE_BYTES_MAX
from producers.outgoing import Failure, Outgoing


def read_file(path: str, image_id: str) -> Outgoing | Failure:
    """Read a file whole; whatever is wrong with it becomes a failure, never an exception."""
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its writer for ever.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                return Failure(path, "not-a-file", "It is not a regular file.")
            if found.st_size > IMAGE_SIZE_BYTES_MAX:
                detail = f"The file has {found.st_size} bytes, at most {IMAGE_SIZE_BYTES_MAX}."
                return Failure(path, "too-large", detail)
            # One byte more than allowed, in case the file grows meanwhile: it is refused further on.
            value = file.read(IMAGE_SIZE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name.
        return Failure(path, "unreadable", f"It cannot be read: {error}.")
    modified = datetime.fromtimestamp(found.st_mtime_ns // 1_000_000_000, UTC)
    metadata: dict[str, object] = {
        "name": PurePath(path).name,
        "size_bytes": len(value),
        "modified": modified.isoformat().replace("+00:00", "Z"),
    }
    return Outgoing(path, image_id, value, metadata, stamp_of(found))


def stamp_of(found: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does. The change time tells of a file that was overwritten and given its old time back."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
