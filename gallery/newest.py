"""The newest generation of an encoder's index on this machine, for those who look at it once."""

from contract.errors import LookalikeError
from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.generations.serving import ServingFile, index_names, old_layout
from gallery.generations.snapshot import Snapshot


def newest_generation(settings: Settings, encoder: str | None = None) -> Snapshot:
    """The newest generation of a collection.

    Args:
        settings: of the collection.
        encoder: whose index is meant; None for the one that answers.

    Raises:
        LookalikeError: there is none, or it is damaged.
    """
    name = encoder or ServingFile(settings.index_dir, settings.encoder).current().encoder
    reader = Reader(settings.index_dir / name, fingerprint=None)
    snapshot = reader.current()
    if snapshot is None:
        others = ", ".join(index_names(settings.index_dir))
        raise LookalikeError(
            reader.refused
            or f"There is no index in {settings.index_dir / name}. "
            + (f"There is one of {others}: name it with --encoder. " if others else "")
            + "Start one: `make up`, or `python -m workers indexer`. "
            + old_layout(settings.index_dir)
        )
    return snapshot
