"""The file that keys are kept in: replaced whole by the command line, followed by every API process."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from api.access.keys import Keyring, StoredKey
from contract.errors import ConfigurationError

SETTING = "LOOKALIKE_KEYS_FILE"
_MODE = 0o600
_SIZE_BYTES_MAX = 16 * 1024 * 1024


class _Content(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    keys: list[StoredKey]


class KeyFile:
    """Keys of one file, as they are now. A look costs one `stat` as long as the file does not change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None
        self._keyring = Keyring([], are_needed=False)

    def current(self) -> Keyring:
        """The keys as of this moment.

        Once there was a file, keys are needed for as long as the process lives: a file that was removed opens nothing.

        Raises:
            ConfigurationError: the file cannot be read, is damaged, or others may write it.
        """
        try:
            state = os.stat(self.path)
        except FileNotFoundError:
            self._seen = None
            self._keyring = Keyring([], are_needed=self._keyring.are_needed)
            return self._keyring
        except OSError as error:
            raise _unreadable(self.path, str(error.strerror)) from error
        seen = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_mode)
        if seen != self._seen:
            self._keyring = Keyring(_read(self.path, state), are_needed=True)
            self._seen = seen
        return self._keyring

    def change(self, change: Callable[[list[StoredKey]], list[StoredKey]]) -> None:
        """Replace the keys by what `change` makes of them, while no other process changes them.

        Raises:
            ConfigurationError: the file cannot be read or written.
        """
        try:
            with _locked(self.path):
                keys = change(list(self.current().keys))
                self._write(msgspec.json.format(msgspec.json.encode(_Content(format=1, keys=keys))) + b"\n")
        except OSError as error:
            raise ConfigurationError(f"{SETTING}={self.path} cannot be written: {error.strerror}.") from error

    def _write(self, content: bytes) -> None:
        fresh = self.path.with_name(f"{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)


def write_secret(path: Path, text: str) -> None:
    """Write a new file that nobody else may read.

    Raises:
        ConfigurationError: there is one already, or it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}. Name another file.") from error
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _read(path: Path, state: os.stat_result) -> list[StoredKey]:
    if not stat.S_ISREG(state.st_mode) or state.st_size > _SIZE_BYTES_MAX:
        raise _unreadable(path, "it is no file, or too large")
    if state.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unreadable(path, f"others may write it (mode {stat.S_IMODE(state.st_mode):o}). Run `chmod 600` on it")
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    except msgspec.MsgspecError as error:
        raise _unreadable(path, f"it is damaged ({error})") from error
    if content.format != 1:
        raise _unreadable(path, f"it has format {content.format}, this version reads 1")
    return content.keys


def _unreadable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{SETTING}={path} cannot be used: {reason}. Until then nobody is let in.")


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
