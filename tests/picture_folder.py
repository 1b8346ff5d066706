"""A folder of pictures as a source, looked at without Kafka."""

from pathlib import Path

import numpy as np

from model import mnist
from producers.folder import Folder, Look, Manner
from producers.outgoing import Departed, Outgoing
from producers.state import FolderState

PNG = mnist.png(np.zeros((28, 28), np.uint8))
JPEG_HEAD = b"\xff\xd8\xff\xe0" + bytes(100)


def make_pictures(tmp_path: Path) -> Path:
    """A folder with three pictures, nested."""
    folder = tmp_path / "my pictures"
    for key in ("a.png", "deep/b.png", "deep/er/c.png"):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(PNG)
    return folder


def published(folder: Path, state: FolderState, **manner: object) -> Look:
    """Look once, and have all that is due confirmed."""
    source = Folder(str(folder), state, Manner(**manner))  # type: ignore[arg-type]
    look = source.look()
    confirm(source, look)
    return look


def confirm(source: Folder, look: Look) -> list[str]:
    """Have all that is due confirmed; ids of pictures, and of deletions with a minus before them."""
    done = []
    for each in source.images(look):
        if isinstance(each, Outgoing | Departed):
            source.confirm(each)
            done.append(each.image_id if isinstance(each, Outgoing) else f"-{each.image_id}")
    return done
