"""What lies in a folder and all folders below it."""

import os
import stat
from collections import deque
from dataclasses import dataclass, field

from contract.errors import ConfigurationError
from producers.files import stamp_of
from producers.ids import file_id
from producers.outgoing import Failure, LeftOut

_LINK_DETAILS = {
    "folder-link": "It is a link to a folder; --follow-links reads that too.",
    "link-outside": "It is a link to a file outside of the folder; --follow-links reads that too.",
    "folder-again": "It is a link to a folder that is read already.",
}


@dataclass(frozen=True)
class FoundFile:
    """A file that was met: its path to read, and its path below the folder, with `/`."""

    path: str
    key: str
    stamp: tuple[int, ...]

    @property
    def image_id(self) -> str:
        """The id that it is published under."""
        return file_id(self.key)


@dataclass(frozen=True)
class Identity:
    """What a folder is, whatever its name: device and inode. Where a disk is no longer mounted, another folder appears."""

    device: int
    inode: int


@dataclass
class Listing:
    """All that was met.

    Attributes:
        folders: every folder that was read, by its path below the first one with `/` at its end: its path, what it is, and
            whether anything lies in it.
        unseen: folders, in the same way, of which nobody knows what lies in them: not readable, or behind a link.
        others: keys of what is there and is no file to read.
    """

    files: list[FoundFile] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    folders: dict[str, tuple[str, Identity, bool]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)

    def other_ids(self) -> set[str]:
        """The ids that files at the places of `others` would have."""
        return {file_id(key) for key in self.others}


def list_folder(folder: str, *, follow_links: bool = False) -> Listing:
    """List a folder and all below it, sorted within each.

    A link to a file within the folder is that file once more. Links to folders, and to files outside, are left out unless
    `follow_links`; then each folder is read once, however many links lead to it, so loops end.

    Raises:
        ConfigurationError: the folder itself cannot be read.
    """
    return _Walk(folder, follow_links).listing


def identity_of(folder: str) -> Identity | None:
    """What stands at the folder's place now; None when that is no folder that can be read."""
    try:
        found = os.stat(folder)
        os.scandir(folder).close()
    except OSError:
        return None
    return Identity(found.st_dev, found.st_ino)


class _Walk:
    def __init__(self, folder: str, follow_links: bool) -> None:
        self.listing = Listing()
        self._follow_links = follow_links
        self._root = os.path.realpath(folder)
        self._read: set[Identity] = set()
        # Links come last, so that a folder is read under its own name where it has one here. A queue of our own, since
        # folders may be nested deeper than Python recurses.
        self._waiting: deque[tuple[str, str]] = deque([(folder, "")])
        self._linked: deque[tuple[str, str]] = deque()
        while self._waiting or self._linked:
            is_linked = not self._waiting
            self._enter(*(self._linked if is_linked else self._waiting).popleft(), is_linked)
        if "" in self.listing.unseen:
            raise ConfigurationError(f"{self.listing.failures[0].detail} Nothing was published, and nothing deleted.")

    def _enter(self, path: str, prefix: str, is_linked: bool) -> None:
        try:
            here = os.stat(path)
            names = sorted(os.listdir(path))
        except OSError as error:
            self.listing.unseen.add(prefix)
            self.listing.failures.append(Failure(path, "unreadable", f"The folder cannot be read: {error}."))
            return
        identity = Identity(here.st_dev, here.st_ino)
        if identity in self._read and is_linked:
            self._leave_out(path, prefix.removesuffix("/"), "folder-again")
            return
        self._read.add(identity)
        self.listing.folders[prefix] = (path, identity, bool(names))
        for name in names:
            self._meet(os.path.join(path, name), prefix + name)

    def _meet(self, path: str, key: str) -> None:
        is_link = False
        try:
            found = os.lstat(path)
            is_link = stat.S_ISLNK(found.st_mode)
            if is_link:
                found = os.stat(path)
        except OSError as error:
            self._miss(path, key, is_link, error)
            return
        if stat.S_ISDIR(found.st_mode):
            if not is_link:
                self._waiting.append((path, f"{key}/"))
            elif self._follow_links:
                self._linked.append((path, f"{key}/"))
            else:
                self._leave_out(path, key, "folder-link")
        elif not stat.S_ISREG(found.st_mode):
            self.listing.others.add(key)
            self.listing.left_out.append(LeftOut(path, "not-a-file", "It is not a regular file."))
        elif is_link and not self._follow_links and not self._is_inside(path):
            self._leave_out(path, key, "link-outside")
        else:
            self.listing.files.append(FoundFile(path, key, stamp_of(found)))

    def _miss(self, path: str, key: str, is_link: bool, error: OSError) -> None:
        """What was listed cannot be looked at."""
        self.listing.others.add(key)
        if is_link and not isinstance(error, PermissionError):
            self.listing.unseen.add(f"{key}/")
            self.listing.left_out.append(LeftOut(path, "broken-link", f"The link leads nowhere: {error}."))
        elif isinstance(error, FileNotFoundError):
            self.listing.left_out.append(LeftOut(path, "vanished", "It vanished while the folder was read."))
        else:
            self.listing.failures.append(Failure(path, "unreadable", f"It cannot be read: {error}."))

    def _leave_out(self, path: str, key: str, kind: str) -> None:
        self.listing.others.add(key)
        self.listing.unseen.add(f"{key}/")
        self.listing.left_out.append(LeftOut(path, kind, _LINK_DETAILS[kind]))

    def _is_inside(self, path: str) -> bool:
        return os.path.commonpath([self._root, os.path.realpath(path)]) == self._root
