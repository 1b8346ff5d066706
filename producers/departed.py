"""Which published images have left their folder, and which only seem to have: deleting those would lose them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from producers.outgoing import Departed
from producers.state import FolderState
from producers.walk import Identity, Listing, identity_of

Claimed = Callable[[Iterable[str]], dict[str, str]]


def find_departed(
    listing: Listing, no_pictures: Collection[str], state: FolderState, claimed: Claimed
) -> tuple[list[Departed], list[str]]:
    """Images that this folder's publishing made and whose files are gone, or are no pictures any more.

    Nothing has left as long as somebody may not have looked: below a folder that cannot be read or lies behind a link that
    is not followed, nor where an empty folder has taken another one's place, as when a disk is not mounted.

    Args:
        no_pictures: keys of files whose bytes say so.
        claimed: which of some ids other folders were published under as well, with that folder.

    Returns:
        What to delete, and a sentence for each reason to keep something.
    """
    there = {file.image_id for file in listing.files if file.key not in no_pictures} | listing.other_ids()
    gone: list[str] = []
    kept: Counter[str] = Counter()
    for image_id in sorted(state.ids() - there):
        reason = _why_unsure(state.key_of(image_id), listing, state)
        if reason:
            kept[reason] += 1
        else:
            gone.append(image_id)
    path, identity, _ = listing.folders[""]
    if gone and identity_of(path) != identity:
        return [], [f"The folder {path!r} went away while it was read: nothing is deleted."]
    others = claimed(gone) if gone else {}
    kept.update(f"the folder {others[each]!r} was published under the same id" for each in gone if each in others)
    departed = [Departed(state.key_of(each), each) for each in gone if each not in others]
    return departed, [f"Not deleted: {_count(number)}, since {reason}." for reason, number in kept.items()]


def folders_to_know(listing: Listing, state: FolderState) -> dict[str, Identity]:
    """What the folders are, to remember: of an empty one that took another's place, still that other."""
    known = {}
    for prefix, (_, identity, has_entries) in listing.folders.items():
        before = state.folder_before(prefix)
        known[prefix] = identity if has_entries or before is None else before
    return known


def _why_unsure(key: str, listing: Listing, state: FolderState) -> str:
    """Why a file that was not met may still be there; "" when it has surely left."""
    above = list(_folders_above(key))
    for prefix in above:
        if prefix in listing.unseen:
            return f"{prefix.removesuffix('/')!r} was not read"
    nearest = next(prefix for prefix in above if prefix in listing.folders)
    path, identity, has_entries = listing.folders[nearest]
    if not has_entries and state.folder_before(nearest) not in (None, identity):
        return f"{path!r} is empty and not the folder that it was, as when a disk is not mounted"
    return ""


def _folders_above(key: str) -> Iterator[str]:
    """`a/b/c.png`: `a/b/c.png/` (it may be a folder now), `a/b/`, `a/`, and "" for the folder itself."""
    prefix = f"{key}/"
    while prefix:
        yield prefix
        prefix = prefix.removesuffix("/")
        prefix = prefix[: prefix.rfind("/") + 1]
    yield ""


def _count(number: int) -> str:
    return f"{number:,} image{'s' if number > 1 else ''}"
