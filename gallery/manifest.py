"""A generation's manifest: what it covers and the files that it is made of.

an encoder's folder in the index folder (gallery/serving.py)
├── CURRENT                     name of the newest manifest, replaced by an atomic rename
├── lock                        held by the one indexer that writes
├── generations/00000042.json   manifests; nothing in one ever changes
├── bases/00000040/             a base's files (gallery/base.py)
└── tails/00000040-1.tail       entries since that base; only its end grows (gallery/tail.py)
"""

import hashlib
import os
from pathlib import Path

import msgspec

from contract.errors import IndexDamagedError

CURRENT = "CURRENT"
FORMAT = 2  # of the whole folder; 1 kept the arrays of a KDTree over the embeddings


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


class Manifest(msgspec.Struct, frozen=True):
    """One generation.

    Attributes:
        index_id: made anew whenever the index is rebuilt from the feed; generations count within it.
        encoder: fingerprint of the encoder that made the embeddings.
        logs: oldest first; a position's log number counts in this list.
        count: images that can be found.
        rejected: records refused so far, by reason.
        expired: offsets that Kafka expired before they were embedded.
        digest: SHA-256 over base and tail, so that equal digests mean equal contents.
        format: of the folder; manifests of format 1 do not name it.
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
    format: int = 1

    @property
    def log(self) -> str:
        """The log that is written to now; "" before the first one is known."""
        return self.logs[-1].log if self.logs else ""

    @property
    def offsets(self) -> dict[str, int]:
        """Next offset of each partition of `log`."""
        return {p: c.next_offset for p, c in self.logs[-1].partitions.items()} if self.logs else {}

    def covers(self, other: "Manifest") -> bool:
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


def generation_name(generation: int) -> str:
    """File name of a generation's manifest."""
    return f"{generation:08d}.json"


def current_name(index_dir: Path) -> str | None:
    """Name of the newest manifest, None before the first one."""
    try:
        return (index_dir / CURRENT).read_text().strip()
    except FileNotFoundError:
        return None


def read_manifest(index_dir: Path, name: str) -> Manifest:
    """Read a manifest.

    Raises:
        IndexDamagedError: it is missing, not a manifest, or of a format that another version of this program wrote.
    """
    path = index_dir / "generations" / name
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise IndexDamagedError(f"{path} cannot be read: {error}.") from error
    if manifest.format != FORMAT:
        raise IndexDamagedError(
            f"{path} has format {manifest.format}, this program reads format {FORMAT}. A starting indexer builds a new index."
        )
    if manifest.digest != digest_of(manifest.base, manifest.tail):
        raise IndexDamagedError(f"{path} does not agree with its own digest {manifest.digest}.")
    return manifest


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file so that readers see the old or the new one, also after a power cut."""
    unfinished = path.with_name(path.name + ".tmp")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fdatasync(file.fileno())
    unfinished.rename(path)
