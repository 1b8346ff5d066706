"""The tail of a base that was just built, while entries are carried over to it from the tail that goes on."""

from pathlib import Path

from gallery.generations.base import base_files, load_base
from gallery.generations.manifest import BaseFiles
from gallery.generations.tail import Tail, TailEntry, encode_entries
from gallery.generations.tail_file import TailAppender, new_tail_file
from runtime.failpoints import failpoint

# At once: some 50 ms.
CARRIED_ENTRIES_MIN = 2048


class NextTail:
    """Takes over what came while its base was built, a piece at a time: whoever else the thread works for waits meanwhile.

    Args:
        base_name: of the folder of the base.
        entries_merged: of the tail that goes on, which the base holds.
        entries: that it has now.

    Raises:
        IndexDamagedError: the base is not as it was built.
    """

    def __init__(self, index_dir: Path, base_name: str, dimensions: int, *, entries_merged: int, entries: int) -> None:
        folder = index_dir / "bases" / base_name
        files = base_files(folder)
        base = load_base(folder, files, dimensions)
        self.base = BaseFiles(base_name, len(base.live), files)
        self.tail = Tail(base)
        self.file = new_tail_file(index_dir, base_name)
        self._carried, self._seen = entries_merged, entries

    def carry_over(self, tail: Tail, entries_min: int) -> bool:
        """Take a piece of the tail that goes on, of at least so many entries, and of more where more came since the last one.

        Returns:
            Whether that was all; then it is on the disk.
        """
        count = tail.count_of_entries
        end = min(count, self._carried + max(entries_min, 2 * (count - self._seen)))
        append_entries(self.tail, self.file, self.tail.supersede(tail.entries_between(self._carried, end)))
        self._carried, self._seen = end, count
        if end == count:
            self.file.sync()
        return end == count


def append_entries(tail: Tail, file: TailAppender, entries: list[TailEntry]) -> None:
    """Append to the file, and then to what is in memory."""
    file.append(encode_entries(entries))
    failpoint("indexer-after-append")
    tail.append(entries)
