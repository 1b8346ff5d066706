"""What of a run still holds: images are deleted and replaced, and people say what are no duplicates, while its groups are shown."""

from collections.abc import Callable, Iterable, Iterator

from contract.record_key import RecordKey
from gallery.duplicates.found import CLASSES, Duplicate, DuplicateGroup
from gallery.generations.snapshot import Snapshot
from gallery.store.distinct import DistinctSet

# Any two images of these classes are the same; in the others all were compared with the best one, or with a copy of it.
_SAME = CLASSES[:2]
IsMeant = Callable[[Duplicate], bool]
AreApart = Callable[[Duplicate, Duplicate], bool]


def record_of(image: Duplicate) -> RecordKey:
    """The record that brought an image."""
    return RecordKey(image.log, image.partition, image.offset)


def meant_in(snapshot: Snapshot) -> IsMeant:
    """Says whether an image is still what its id means."""

    def is_meant(image: Duplicate) -> bool:
        found = snapshot.find(image.id)
        return found is not None and found.source == record_of(image)

    return is_meant


def apart_in(sets: Iterable[DistinctSet]) -> AreApart:
    """Says whether somebody said that two images are no duplicates."""
    within: dict[tuple[str, RecordKey], set[str]] = {}
    for each in sets:
        for image in each.images:
            within.setdefault(image, set()).add(each.name)

    def are_apart(one: Duplicate, other: Duplicate) -> bool:
        nothing: set[str] = set()
        return bool(within.get((one.id, record_of(one)), nothing) & within.get((other.id, record_of(other)), nothing))

    return are_apart


def surviving(group: DuplicateGroup, is_meant: IsMeant, are_apart: AreApart) -> Iterator[Duplicate]:
    """The images of a group that are still its duplicates, the best one first; at least two, or none.

    Without the image that all were compared with, nothing is known of the others before the next run, unless they are the same.
    """
    meant = (image for image in group.members if is_meant(image))
    best = next(meant, None)
    if best is None or (best is not group.members[0] and group.kind not in _SAME):
        return
    is_first = True
    for image in meant:
        if not are_apart(best, image):
            if is_first:
                yield best
                is_first = False
            yield image
