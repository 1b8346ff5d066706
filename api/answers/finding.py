"""Looks an image up by its id: at once where the index is in memory, off the event loop where Cassandra is asked."""

import anyio.to_thread

from api.answers.as_of import Past
from gallery.generations.snapshot import GalleryImage
from gallery.table.snapshot import AnySnapshot, TableSnapshot


async def find_image(snapshot: AnySnapshot, image_id: str, past: Past | None = None) -> GalleryImage | None:
    """The image of this id, None when it is unknown or deleted.

    Args:
        past: an earlier time of which it is asked; None for now.

    Raises:
        DependencyError: Cassandra was to be asked, and did not answer.
    """
    if past is not None:
        return past.snapshot.find(image_id, past.selection)
    if isinstance(snapshot, TableSnapshot):
        return await anyio.to_thread.run_sync(snapshot.find, image_id, abandon_on_cancel=True)
    return snapshot.find(image_id)
