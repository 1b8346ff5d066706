"""A generation's manifest: what it covers and the files that it is made of.

an encoder's folder in the index folder (gallery/generations/serving.py)
├── CURRENT                     name of the newest manifest, replaced by an atomic rename
├── lock                        held by the one indexer that writes
├── generations/                manifests, such as 00000042-0123456789abcdef.json; nothing in one ever changes
├── bases/00000040/             a base's files (gallery/generations/base.py)
└── tails/00000040-1.tail       entries since that base; only its end grows (gallery/generations/tail.py)
"""

import hashlib
import re
from pathlib import Path
from typing import Self

import msgspec

from contract.errors import IndexDamagedError
from gallery.generations.files import is_sealed, read_whole, seal, unseal

CURRENT = "CURRENT"
# Of the whole folder. 1 kept the arrays of a KDTree over the embeddings; in 2 no checksum covered the manifest itself; in 3
# there was no metadata.
FORMAT = 5

_REMEDY = "A starting indexer builds a new index."
_NAME = re.compile(r"[0-9]{8,19}(-[0-9a-f]{16})?\.json")


class PartitionCoverage(msgspec.Struct, frozen=True):
    """All records of a partition below `next_offset` are covered; `effective_ms` is their running maximum of time."""

    next_offset: int
    effective_ms: int


class LogCoverage(msgspec.Struct, frozen=True):
    """What a generation covers of one log, by partition number as text."""

    log: str
    partitions: dict[str, PartitionCoverage]


class BaseFiles(msgspec.Struct, frozen=True):
    """A base's folder and the SHA-256 of each of its files; the first base has no folder and the name ""."""

    name: str
    count: int
    files: dict[str, str]


class TailFile(msgspec.Struct, frozen=True):
    """The part of a tail file that counts: its length and the SHA-256 of that much."""

    name: str
    entries: int
    size_bytes: int
    sha256: str


class NotShown(msgspec.Struct, frozen=True):
    """The newest record of an id, which was set aside: where it stands (the fields of `Position`), and why."""

    position: tuple[int, int, int, int, int]
    reason: str


class OtherFormat(msgspec.Struct, frozen=True):
    """What manifests of other formats say to us; fields that we do not know are passed over."""

    format: int = 1
    encoder: str = ""
    logs: list[LogCoverage] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One generation.

    Attributes:
        index_id: made anew whenever the index is rebuilt from the feed; generations count within it.
        encoder: fingerprint of the encoder that made the embeddings.
        logs: oldest first; a position's log number counts in this list.
        count: images that can be found.
        rejected: records refused so far, by reason.
        expired: offsets that Kafka expired before they were embedded.
        digest: SHA-256 over base and tail: of the files, so it depends on when bases were built.
        content_digest: of the images, whatever files they are in (gallery/generations/content.py).
        format: of the folder.
        dimensions: of an embedding.
        set_aside: feed rows that could not be used so far, by reason (gallery/generations/unusable_rows.py).
        not_shown: ids whose newest record is such a row.
    """

    index_id: str
    generation: int
    encoder: str
    logs: list[LogCoverage]
    count: int
    base: BaseFiles
    tail: TailFile
    rejected: dict[str, int]
    expired: int
    digest: str
    published_at_ms: int
    content_digest: str = ""
    format: int = 1
    dimensions: int = 128
    set_aside: dict[str, int] = {}
    not_shown: dict[str, NotShown] = {}

    @classmethod
    def nothing_yet(
        cls, index_id: str, encoder: str, dimensions: int, generation: int, of_format: int, published_at_ms: int = 0
    ) -> Self:
        """Of a new index, which covers nothing."""
        return cls(
            index_id=index_id,
            generation=generation,
            encoder=encoder,
            logs=[],
            count=0,
            base=BaseFiles("", 0, {}),
            tail=TailFile("", 0, 0, ""),
            rejected={},
            expired=0,
            digest="",
            published_at_ms=published_at_ms,
            format=of_format,
            dimensions=dimensions,
        )

    @property
    def log(self) -> str:
        """The log that is written to now; "" before the first one is known."""
        return self.logs[-1].log if self.logs else ""

    @property
    def offsets(self) -> dict[str, int]:
        """Next offset of each partition of `log`."""
        return {p: c.next_offset for p, c in self.logs[-1].partitions.items()} if self.logs else {}

    def lacks(self, other: "Manifest") -> int:
        """How many records `other` covers that are not covered here, by their offsets."""
        mine = {(coverage.log, p): c.next_offset for coverage in self.logs for p, c in coverage.partitions.items()}
        return sum(
            max(0, c.next_offset - mine.get((coverage.log, p), 0))
            for coverage in other.logs
            for p, c in coverage.partitions.items()
        )

    def covers(self, other: "Manifest | OtherFormat") -> bool:
        """Whether all that `other` covers is covered here."""
        mine = {coverage.log: coverage.partitions for coverage in self.logs}
        return all(
            coverage.log in mine
            and all(
                p in mine[coverage.log] and mine[coverage.log][p].next_offset >= c.next_offset
                for p, c in coverage.partitions.items()
            )
            for coverage in other.logs
        )


def digest_of(base: BaseFiles, tail: TailFile) -> str:
    """SHA-256, in hex, over the segment list."""
    return hashlib.sha256(msgspec.json.encode([base.files, tail.size_bytes, tail.sha256], order="sorted")).hexdigest()


def write_manifest(manifest: Manifest) -> tuple[str, bytes]:
    """Name and content of a manifest's file. The name tells its checksum, so none can stand in another one's place."""
    content = seal(msgspec.json.encode(manifest))
    return _name(manifest, unseal(content)[1]), content


def current_name(index_dir: Path) -> str | None:
    """Name of the newest manifest, None before the first one.

    Raises:
        IndexDamagedError: the file is not what a writer writes.
    """
    path = index_dir / CURRENT
    try:
        name = read_whole(path).decode("ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}. {_REMEDY}") from error
    if not _NAME.fullmatch(name):
        raise IndexDamagedError(f"{path} does not name a generation: {name[:80]!r}. {_REMEDY}")
    return name


def read_manifest(index_dir: Path, name: str) -> Manifest:
    """Read a manifest.

    Raises:
        IndexDamagedError: it is missing, not as it was written, or of a format that another version of this program wrote.
    """
    path = index_dir / "generations" / name
    try:
        content = read_whole(path)
        if not is_sealed(content):
            number = msgspec.json.decode(content, type=OtherFormat).format
            raise ValueError(f"it has format {number} and no checksum, this program reads format {FORMAT}")
        body, checksum = unseal(content)
        manifest = msgspec.json.decode(body, type=Manifest)
        expected = _name(manifest, checksum)
    except (OSError, ValueError, OverflowError, RecursionError, msgspec.DecodeError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}. {_REMEDY}") from error
    if manifest.format != FORMAT:
        raise IndexDamagedError(f"{path} has format {manifest.format}, this program reads format {FORMAT}. {_REMEDY}")
    if name != expected:
        raise IndexDamagedError(f"{path} holds the manifest {expected}. {_REMEDY}")
    if manifest.digest != digest_of(manifest.base, manifest.tail):
        raise IndexDamagedError(f"{path} does not agree with its own digest {manifest.digest}. {_REMEDY}")
    return manifest


def read_other_format(index_dir: Path) -> OtherFormat | None:
    """The current generation where another version wrote it, whose programs answer from it; None where there is none such."""
    try:
        name = current_name(index_dir)
        if name is None:
            return None
        content = read_whole(index_dir / "generations" / name)
        found = msgspec.json.decode(unseal(content)[0] if is_sealed(content) else content, type=OtherFormat)
    except (IndexDamagedError, OSError, ValueError, OverflowError, RecursionError, msgspec.DecodeError):
        return None
    return found if found.format != FORMAT else None


def _name(manifest: Manifest, checksum: str) -> str:
    return f"{manifest.generation:08d}-{checksum[:16]}.json"
