"""What a table of embeddings covers: a manifest as a generation has one, kept as JSON beside who writes the table."""

import msgspec

from contract.errors import IndexDamagedError
from gallery.generations.fold import Position
from gallery.generations.manifest import Manifest, OtherFormat

# Of the tables and of what is said of them. A program that knows another one begins a new table.
TABLE_FORMAT = 1
# So many of the images that came last are named, for who shows what arrives.
NAMED_NEWEST_MAX = 20


class NamedNewest(msgspec.Struct, frozen=True, array_like=True):
    """One of the images that came last: its id, and the position of its record."""

    image_id: str
    position: Position


class TableManifest(Manifest, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a table holds at least, once it is stored: every row that it speaks of was durable before.

    The digest of files is the content digest, since there are no files.

    Attributes:
        newest: the images that came last and are still there, the newest last.
    """

    newest: list[NamedNewest] = msgspec.field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether it covers any record."""
        return any(c.next_offset for coverage in self.logs for c in coverage.partitions.values())


def manifest_text(manifest: TableManifest) -> str:
    """As it is stored."""
    return msgspec.json.encode(manifest).decode()


def read_table_manifest(text: str) -> TableManifest:
    """What `manifest_text` made.

    Raises:
        IndexDamagedError: it is not that, or of a format that another version of this program wrote.
    """
    try:
        number = msgspec.json.decode(text, type=OtherFormat).format
        if number != TABLE_FORMAT:
            raise ValueError(f"it has format {number}, this program reads format {TABLE_FORMAT}")
        return msgspec.json.decode(text, type=TableManifest)
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise IndexDamagedError(
            f"What a table of embeddings covers cannot be read: {error}. A starting indexer builds a new table."
        ) from error
