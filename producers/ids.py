"""The id of a file: its path below the folder, or, where that cannot be an id, one made of it that can."""

import hashlib
import os
import re
import unicodedata
from pathlib import PurePath

from contract.errors import RejectedError
from contract.messages import ID_SIZE_BYTES_MAX, check_image_id

_MADE = re.compile(r"~[0-9a-f]{16}(\.[A-Za-z0-9]{1,8})?$")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")


def file_id(key: str) -> str:
    """The id of the file at `key`, a path below the folder with `/`; the same one every time, another one for every path.

    A path that is not UTF-8, too long or holds control characters becomes what can be read of it, `~` and 16 digits of its
    SHA-256. So does a path that looks like such an id: no two files share one.
    """
    try:
        if not _MADE.search(key):
            return check_image_id(key)
    except RejectedError:
        pass
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:16]
    suffix = PurePath(key).suffix
    end = f"~{digest}{suffix if _SUFFIX.fullmatch(suffix) else ''}"
    readable = "".join("_" if unicodedata.category(c) in ("Cc", "Cs") else c for c in key.removesuffix(suffix))
    room = ID_SIZE_BYTES_MAX - len(end)
    return check_image_id(readable.encode()[:room].decode("utf-8", "ignore") + end)


def readable_name(path: str) -> str:
    """A file's name as metadata may hold it: what is not UTF-8 in it is replaced."""
    return os.fsencode(PurePath(path).name).decode("utf-8", "replace")
