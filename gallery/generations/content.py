"""A digest of what ids mean, whichever bases and tails hold it: two folders of the same feed have the same at equal coverage.

It is a sum of one number for each image, so that it follows what is appended without anything else being read again. It tells
what differs by mistake; nobody who could make images to order is kept from making two galleries of one sum.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

from gallery.generations.fold import Position
from gallery.generations.tail import Tail, TailEntry

_MODULUS = 2**256
_PLACE = struct.Struct(">HHiq")  # sizes of id and log, partition and offset


class ContentSum:
    """The sum over the images of a gallery: which record each id means, and that record's embedding."""

    def __init__(self, digest: str = "") -> None:
        self._sum = int(digest or "0", 16)

    @property
    def digest(self) -> str:
        """The sum as 64 digits, in hex; all zeros for no image."""
        return f"{self._sum:064x}"

    def add(self, image_id: bytes, position: Position, embedding: bytes, logs: Sequence[str]) -> None:
        """Take in an image.

        Args:
            embedding: as little-endian float32.
            logs: which of them the position means.
        """
        self._sum = (self._sum + content_number(image_id, position, embedding, logs)) % _MODULUS

    def change(self, before: int, now: int) -> None:
        """Take in that an id means another image; the `content_number` of each, 0 for none."""
        self._sum = (self._sum + now - before) % _MODULUS

    def follow(self, tail: Tail, entries: Iterable[TailEntry], logs: Sequence[str]) -> None:
        """Take in what `entries` change, before they are appended to `tail`."""
        met: dict[str, int] = {}
        for entry, base_row in entries:
            if entry.is_late:
                continue
            name = entry.image_id.encode()
            if entry.image_id in met:
                before = met[entry.image_id]
            else:
                meant = tail.meant(entry.image_id, base_row)
                before = 0 if meant is None else content_number(name, *meant, logs)
            now = 0 if entry.embedding is None else content_number(name, entry.position, entry.embedding, logs)
            met[entry.image_id] = now
            self.change(before, now)


def content_number(image_id: bytes, position: Position, embedding: bytes, logs: Sequence[str]) -> int:
    """What an image counts for in the sum: 256 bits of its id, its record and its embedding (as of `ContentSum.add`)."""
    log = logs[position.log_number].encode()
    place = _PLACE.pack(len(image_id), len(log), position.partition, position.offset)
    return int.from_bytes(hashlib.sha256(place + image_id + log + embedding).digest(), "big")
