"""File names from standard input, one a line."""

import os
from collections.abc import Iterable, Iterator

from producers.files import read_image
from producers.outgoing import Failure, Outgoing


def named_images(lines: Iterable[bytes]) -> Iterator[Outgoing | Failure]:
    """Read each named file as its line arrives; its name as given, without a leading `./`, is its key."""
    for line in lines:
        path = os.fsdecode(line.rstrip(b"\n"))
        if path:
            yield read_image(path, path.removeprefix("./").replace(os.sep, "/"))
