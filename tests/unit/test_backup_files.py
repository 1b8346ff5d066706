"""What a backup is on disk: checked before anything of it is used, and none before it is whole."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gallery.backup.files import (
    BACKUP_FORMAT,
    MANIFEST,
    BackupError,
    BackupManifest,
    read_backup,
    read_frames,
    write_backup_manifest,
    write_frames,
)

FRAMES: list[list[Any]] = [["a", "b"], ["käse", b"\x00\xff", None, 2**62, 1.5, True], []]


def backed_up(folder: Path, *, form: int = BACKUP_FORMAT) -> Path:
    file = write_frames(folder / "table-feed.rows", FRAMES)
    write_backup_manifest(
        folder,
        BackupManifest(
            format=form,
            schema=1,
            version="9.9",
            made_at="2026-01-01T00:00:00+00:00",
            topic="images",
            partitions={},
            encoders={},
            files={"table-feed.rows": file},
        ),
    )
    return folder / "table-feed.rows"


def test_frames_are_read_as_they_were_written_by_the_owner_alone(tmp_path: Path) -> None:
    path = backed_up(tmp_path)
    assert read_backup(tmp_path).files["table-feed.rows"].frames == len(FRAMES)
    assert list(read_frames(path)) == FRAMES
    assert {each.stat().st_mode & 0o777 for each in tmp_path.iterdir()} == {0o600}


def test_any_flipped_byte_missing_end_or_missing_file_is_told(tmp_path: Path) -> None:
    path = backed_up(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(BackupError, match=r"table-feed.rows is damaged.*nothing was restored"):
            read_backup(tmp_path)
    path.write_bytes(whole[:-1])
    with pytest.raises(BackupError, match="damaged"):
        read_backup(tmp_path)
    path.unlink()
    with pytest.raises(BackupError, match="No such file"):
        read_backup(tmp_path)


def test_what_was_not_finished_or_is_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    backed_up(tmp_path, form=BACKUP_FORMAT + 1)
    with pytest.raises(BackupError, match=r"format 2, this version reads up to 1. Restore it with lookalike 9.9"):
        read_backup(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(BackupError, match="cannot be read"):
        read_backup(tmp_path)
    (tmp_path / MANIFEST).unlink()
    with pytest.raises(BackupError, match="not finished"):
        read_backup(tmp_path)


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_told_and_leaves_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"could not be written.*is no backup"), files_of_at_most(10_000):
        write_frames(tmp_path / "table-records.rows", [[bytes(1000)]] * 1000)
    with pytest.raises(BackupError, match="not finished"):
        read_backup(tmp_path)
