"""A folder as a source: what of it is to be published, what is no picture, and what has left it."""

import os
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from producers.departed import Claimed, find_departed, folders_to_know
from producers.files import check_file, read_image, seems_whole
from producers.left_out import kind_of
from producers.outgoing import Departed, Failure, Handed, LeftOut, Outgoing
from producers.state import FolderState, fresh_file
from producers.walk import FoundFile, Identity, Listing, list_folder

# While one watches: somebody may still be writing what has changed since; a file that lacks its end is given longer.
STILL_S = 1.0
_UNFINISHED_S = 30.0
# What is left out; anything else that is wrong with a file is a failure.
_NO_PICTURE = "unsupported-type"
_LEFT_OUT = {"empty", "vanished", "not-a-file"}


@dataclass
class Look:
    """What one look at a folder found.

    Attributes:
        due: what there is to do: pictures to publish, images to delete, failures to tell.
        left_out: what is no picture, or not looked at.
        renamed: of pictures whose path cannot be an id, the id by that path.
        notes: sentences about images that are not deleted although their files were not met.
        folders: all folders that were read, by path.
        unchanged: how many pictures are passed over.
        is_waiting: something is being written, or has only just left: look again soon.
    """

    due: list[FoundFile | Departed | Failure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    folders: dict[str, Identity] = field(default_factory=dict)
    unchanged: int = 0
    is_waiting: bool = False


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How a folder is published.

    Attributes:
        state_file: may lie in the folder, and is passed over.
        skips: files that the state knows are passed over while they are unchanged.
        deletes: what left the folder is deleted.
        still_s: a file is taken once it has stood still, and one has left once it has been away, for so long; 0: at once.
        claimed: which of some ids other folders were published under too, with that folder; such are not deleted.
    """

    state_file: Path | None = None
    skips: bool = False
    follow_links: bool = False
    deletes: bool = False
    still_s: float = 0.0
    claimed: Claimed = lambda _: {}


class Folder:
    """One folder that is looked at once, or again and again: each look finds what the ones before have not.

    Args:
        clock: seconds from a monotonic clock.
    """

    def __init__(
        self, path: str, state: FolderState, manner: Manner, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._state = state
        self._manner = manner
        self._clock = clock
        self._keys: dict[str, str] = {}
        # What was told of or published already, with what it was then; files also with whether they are pictures.
        self._told: dict[str, Hashable] = {}
        self._seen: dict[str, tuple[tuple[int, ...], bool]] = {}
        # Files that may still be written to, with their stamp, and ids that are away; since when (monotonic seconds).
        self._restless: dict[str, tuple[tuple[int, ...], float]] = {}
        self._away: dict[str, float] = {}

    def look(self) -> Look:
        """See what there is to do.

        Raises:
            ConfigurationError: the folder cannot be read.
        """
        listing = list_folder(self._path, follow_links=self._manner.follow_links)
        look = Look(folders={path: identity for path, identity, _ in listing.folders.values()})
        look.due += [each for each in listing.failures if self._is_news(each.name, each.detail)]
        look.left_out += [each for each in listing.left_out if self._is_news(each.name, each.kind)]
        met = {file.path for file in listing.files}
        self._seen = {path: seen for path, seen in self._seen.items() if path in met}
        self._restless = {path: known for path, known in self._restless.items() if path in met}
        no_pictures = set()
        for file in listing.files:
            if not self._is_own(file.path) and not self._sort(file, look):
                no_pictures.add(file.key)
        if self._manner.deletes:
            self._find_departed(listing, no_pictures, look)
        self._state.know_folders(folders_to_know(listing, self._state))
        return look

    def images(self, look: Look) -> Iterator[Handed]:
        """What is due, files read one by one; the state is saved now and then."""
        for each in look.due:
            self._state.save_if_due()
            if isinstance(each, FoundFile):
                self._keys[each.image_id] = each.key
                read = read_image(each.path, each.image_id)
                yield (_left_out(read) or read) if isinstance(read, Failure) else read
            else:
                yield each

    def confirm(self, image: Outgoing | Departed) -> None:
        """Kafka has it; called from Kafka's thread."""
        if isinstance(image, Departed):
            self._state.remove(image.image_id)
        else:
            self._state.add(image.image_id, image.stamp, self._keys[image.image_id])

    def begin_anew(self) -> None:
        """Publish again what was tried, since not all of it arrived."""
        self._seen.clear()
        self._told.clear()

    def _sort(self, file: FoundFile, look: Look) -> bool:
        """Put a file where it belongs; returns whether it is, or may become, a picture."""
        stamp, is_picture = self._seen.get(file.path, ((), True))
        if stamp == file.stamp:
            return is_picture
        if self._manner.skips and self._state.is_published(file):
            look.unchanged += 1
            return True
        if not self._is_finished(file):
            look.is_waiting = True
            return True
        self._restless.pop(file.path, None)
        failed = check_file(file.path)
        left_out = None if failed is None else _left_out(failed)
        is_picture = failed is None or failed.reason != _NO_PICTURE
        self._seen[file.path] = (file.stamp, is_picture)
        if left_out is not None:
            look.left_out.append(left_out)
            return is_picture
        look.due.append(failed or file)
        if failed is None and file.image_id != file.key:
            look.renamed[file.key] = file.image_id
        return True

    def _is_finished(self, file: FoundFile) -> bool:
        """Whether nobody seems to write to a file any more."""
        if self._manner.still_s == 0:
            return True
        _, modified_ns, changed_ns = file.stamp
        if time.time() - max(modified_ns, changed_ns) / 1e9 > _UNFINISHED_S:
            return True
        now_s = self._clock()
        known, since_s = self._restless.get(file.path, ((), now_s))
        if known != file.stamp:
            since_s = now_s
        self._restless[file.path] = (file.stamp, since_s)
        enough_s = self._manner.still_s if seems_whole(file.path) else _UNFINISHED_S
        return now_s - since_s >= enough_s

    def _find_departed(self, listing: Listing, no_pictures: set[str], look: Look) -> None:
        departed, notes = find_departed(listing, no_pictures, self._state, self._manner.claimed)
        now_s = self._clock()
        self._away = {each.image_id: self._away.get(each.image_id, now_s) for each in departed}
        gone = [each for each in departed if now_s - self._away[each.image_id] >= self._manner.still_s]
        look.due += gone
        look.is_waiting |= len(gone) < len(departed)
        look.notes += [note for note in notes if self._is_news(note, "")]

    def _is_news(self, name: str, what: Hashable) -> bool:
        is_news = self._told.get(name) != what or name not in self._told
        self._told[name] = what
        return is_news

    def _is_own(self, path: str) -> bool:
        """Whether it is our own state file, which may lie in the folder."""
        own = self._manner.state_file
        if own is None or os.path.basename(path) not in (own.name, fresh_file(own).name):
            return False
        return os.path.realpath(path) in (os.path.realpath(own), os.path.realpath(fresh_file(own)))


def _left_out(failed: Failure) -> LeftOut | None:
    """What is no picture is no failure: it is counted."""
    if failed.reason == _NO_PICTURE:
        return LeftOut(failed.name, kind_of(failed.name), failed.detail)
    return LeftOut(failed.name, failed.reason, failed.detail) if failed.reason in _LEFT_OUT else None
