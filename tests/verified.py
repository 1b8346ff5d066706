"""What the index holds, once it is proven against the feed."""

from contract.settings import Settings
from gallery.generations.reader import Reader
from gallery.store.store import Store
from gallery.verify import verify


def verified_ids(settings: Settings) -> set[str]:
    """The ids of the newest generation: each is in it once, and the feed says the same."""
    snapshot = Reader(settings.encoder_index_dir, fingerprint=None).current()
    assert snapshot is not None
    store = Store.connect(settings)
    try:
        assert verify(snapshot, store.feed).differences == []
    finally:
        store.close()
    found = [image_id for image_id, _ in snapshot.contents()]
    assert len(found) == len(set(found)) == snapshot.count
    return set(found)
