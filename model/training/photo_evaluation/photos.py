"""The photographs that an evaluation is made with: files below a folder, decoded as the product decodes them."""

import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from contract.errors import ConfigurationError, RejectedError
from model.pictures.images import Picture, decode
from model.pictures.pillow import as_rgb
from model.training.photo_evaluation.easy_edits import with_longer_side

# Copies are made of a photo of at most this size: what people share is rarely larger, and edits of 50 Mpx would take seconds and gigabytes.
ALTERED_SIDE_PX = 1024


@dataclass(frozen=True)
class Photo:
    """A file. Its class is the name of the folder that holds it."""

    path: Path

    @property
    def label(self) -> str:
        """What it shows, in a word."""
        return self.path.parent.name


def photos_in(folder: Path) -> list[Photo]:
    """Every file in `folder` and below it, in the order of their paths; hidden ones are left out, links to folders not followed.

    Raises:
        ConfigurationError: it is no folder, or holds no file.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder. Name one that holds photographs, a folder for each class.")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Photo(Path(parent, name)) for name in names if not name.startswith(".")]
    if not found:
        raise ConfigurationError(f"There is no file in {folder}. Name a folder that holds photographs.")
    return sorted(found, key=lambda photo: photo.path.as_posix())


def read(photo: Photo) -> Picture:
    """The photo, decoded.

    Raises:
        RejectedError: the product would not take it either, for the same reason; ``unreadable``: the file cannot be read.
    """
    try:
        value = photo.path.read_bytes()
    except OSError as error:
        raise RejectedError("unreadable", f"{photo.path} cannot be read: {error.strerror}.") from error
    try:
        return decode(value, thumbnail_side_px=1)  # nobody looks at the thumbnail here
    except MemoryError as error:
        raise RejectedError("out-of-memory", f"{photo.path} takes more memory than there is.") from error


def to_alter(picture: Picture) -> Image.Image:
    """The picture as RGB, at most `ALTERED_SIDE_PX` on its longer side: what copies are made of."""
    photo = picture.image
    if max(photo.size) > ALTERED_SIDE_PX:
        photo = with_longer_side(photo, ALTERED_SIDE_PX)
    return as_rgb(photo)
