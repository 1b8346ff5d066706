"""The folder of a backup: one file for each table and topic, and `backup.json`, which is written last and has their checksums.

A file is a sequence of frames, each the length of what follows in four bytes and a MessagePack array. The first frame of a table
has the names of its columns.
"""

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import LookalikeError

MANIFEST = "backup.json"
# Of the folder. Raise it where an older program would misread one.
BACKUP_FORMAT = 1
_PIECE_BYTES = 1024 * 1024
_FRAME_SIZE_BYTES_MAX = 256 * 1024 * 1024

# A row, or a record: what MessagePack can hold.
FileRow = list[Any]


class BackupError(LookalikeError):
    """A backup cannot be written, or cannot be restored as it is."""


class BackupFile(msgspec.Struct, frozen=True):
    """One file: how many frames and bytes it has, and their SHA-256."""

    frames: int
    size_bytes: int
    sha256: str


class BackupManifest(msgspec.Struct, frozen=True):
    """What a backup is of.

    Attributes:
        made_at: RFC 3339.
        topic: of `default`.
        partitions: of the topics of images, by name.
        encoders: the encoder that answered, by collection.
        files: by name.
    """

    format: int
    schema: int
    version: str
    made_at: str
    topic: str
    partitions: dict[str, int]
    encoders: dict[str, str]
    files: dict[str, BackupFile]


def write_frames(path: Path, frames: Iterable[FileRow]) -> BackupFile:
    """Write a file and see it onto the disk.

    Raises:
        BackupError: the disk is full, or the file cannot be written.
    """
    digest, size_bytes, count = hashlib.sha256(), 0, 0
    encoder = msgspec.msgpack.Encoder()
    try:
        with os.fdopen(_private(path, os.O_EXCL), "wb") as file:
            for frame in frames:
                content = encoder.encode(frame)
                piece = struct.pack(">I", len(content)) + content
                file.write(piece)
                digest.update(piece)
                size_bytes += len(piece)
                count += 1
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _unwritten(path, error) from error
    return BackupFile(count, size_bytes, digest.hexdigest())


def write_backup_manifest(folder: Path, manifest: BackupManifest) -> None:
    """Write `backup.json`, which makes the folder a backup; raises as `write_frames`."""
    path = folder / MANIFEST
    try:
        with os.fdopen(_private(path.with_suffix(".tmp"), os.O_TRUNC), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest)))
            file.flush()
            os.fsync(file.fileno())
        path.with_suffix(".tmp").rename(path)
    except OSError as error:
        raise _unwritten(path, error) from error


def read_backup(folder: Path) -> BackupManifest:
    """Read what a folder is a backup of, and check every file of it.

    Raises:
        BackupError: it is none, a newer version wrote it, or a file is damaged or missing.
    """
    path = folder / MANIFEST
    try:
        told = msgspec.json.decode(path.read_bytes())
        if isinstance(told, dict) and isinstance(told.get("format"), int) and told["format"] > BACKUP_FORMAT:
            raise BackupError(
                f"{folder} has format {told['format']}, this version reads up to {BACKUP_FORMAT}. Restore it with lookalike "
                f"{told.get('version', 'of a newer version')}."
            )
        manifest = msgspec.convert(told, BackupManifest)
    except FileNotFoundError as error:
        raise BackupError(f"{folder} holds no {MANIFEST}: it is no backup, or one that was not finished.") from error
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"{path} cannot be read: {error}. Take another backup; nothing was restored.") from error
    for name, file in manifest.files.items():
        _check(folder / name, file)
    return manifest


def read_frames(path: Path) -> Iterator[FileRow]:
    """The frames of a file that `read_backup` has checked."""
    decoder = msgspec.msgpack.Decoder(list[Any])
    with path.open("rb") as file:
        while size := file.read(4):
            (size_bytes,) = struct.unpack(">I", size)
            assert size_bytes <= _FRAME_SIZE_BYTES_MAX
            yield decoder.decode(file.read(size_bytes))


def _check(path: Path, file: BackupFile) -> None:
    digest, size_bytes = hashlib.sha256(), 0
    try:
        with path.open("rb") as opened:
            while piece := opened.read(_PIECE_BYTES):
                digest.update(piece)
                size_bytes += len(piece)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}. Nothing was restored.") from error
    if (size_bytes, digest.hexdigest()) != (file.size_bytes, file.sha256):
        raise BackupError(
            f"{path} is damaged: it has {size_bytes} bytes with SHA-256 {digest.hexdigest()}, {MANIFEST} says "
            f"{file.size_bytes} with {file.sha256}. Take another backup; nothing was restored."
        )


def _private(path: Path, flags: int) -> int:
    """Create a file for the owner alone: originals, and the secrets of webhooks, are in it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flags, 0o600)


def _unwritten(path: Path, error: OSError) -> BackupError:
    return BackupError(
        f"{path} could not be written: {error.strerror}. What is in its folder is no backup: delete it, and back up again "
        "where there is room."
    )
