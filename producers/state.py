"""Remembers which files of a folder are in Kafka, so that the next run publishes only what is new or changed."""

import json
import os
import threading
import time
from pathlib import Path

from contract.errors import ConfigurationError
from contract.failpoints import failpoint

# A run that is killed publishes at most this much again, which does no harm.
_SAVE_INTERVAL_S = 5.0


class State:
    """The published files of one folder and one log, in one JSON file; without a file nothing is remembered.

    Args:
        file: replaced whole whenever it is saved, so it is never half written.
        folder: absolute path of the folder that the keys belong to.
        log: where the images went. A topic that was created anew is empty: then everything is new again.

    Attributes:
        forgot: why what was remembered does not count, "" otherwise.

    Raises:
        ConfigurationError: the file is of another folder, or is no state file.
    """

    def __init__(self, file: Path | None, folder: str, log: str) -> None:
        self._file = file
        self._folder = folder
        self._log = log
        self._published: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._is_changed = False
        self._saved_at_s = time.monotonic()
        self.forgot = ""
        if file is not None and file.exists():
            self._load(file)

    def is_published(self, key: str, stamp: tuple[int, ...]) -> bool:
        """Whether the file was confirmed with this very stamp."""
        return self._published.get(key) == list(stamp)

    def add(self, key: str, stamp: tuple[int, ...]) -> None:
        """Remember a confirmed file; called from Kafka's thread."""
        with self._lock:
            self._published[key] = list(stamp)
            self._is_changed = True

    def save_if_due(self) -> None:
        """Save at most every few seconds, and rarely when saving takes long."""
        if time.monotonic() - self._saved_at_s >= _SAVE_INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Write what is remembered.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        if self._file is None or not self._is_changed:
            return
        started_s = time.monotonic()
        with self._lock:
            text = json.dumps({"folder": self._folder, "log": self._log, "published": self._published})
            self._is_changed = False
        fresh = fresh_file(self._file)
        try:
            with fresh.open("w") as output:
                output.write(text)
                output.flush()
                os.fsync(output.fileno())
            failpoint("state-before-rename")
            fresh.replace(self._file)
            failpoint("state-after-rename")
        except OSError as error:
            raise ConfigurationError(f"The state file {self._file} cannot be written: {error}.") from error
        ended_s = time.monotonic()
        self._saved_at_s = ended_s + 9 * (ended_s - started_s)

    def _load(self, file: Path) -> None:
        try:
            found = json.loads(file.read_bytes())
            folder, log, published = found["folder"], found["log"], dict(found["published"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigurationError(
                f"{file} is no state file ({error!r}). Delete it to publish everything again, or name another."
            ) from error
        if folder != self._folder:
            raise ConfigurationError(
                f"The state file {file} is of the folder {folder}, not of {self._folder}. Name another: --state FILE."
            )
        if log == self._log:
            self._published = published
        else:
            self.forgot = f"The topic is a new one ({self._log}, was {log}): all files are published again."


def fresh_file(file: Path) -> Path:
    """The file that is written before it takes the place of the state file."""
    return file.with_name(file.name + ".new")
