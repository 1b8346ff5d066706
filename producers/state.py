"""Remembers which files of a folder are in Kafka: the next run publishes what is new or changed, and deletes what has left."""

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError
from contract.settings import Settings
from producers.walk import FoundFile, Identity
from runtime.failpoints import failpoint

# A run that is killed publishes at most this much again, which does no harm.
_SAVE_INTERVAL_S = 5.0


class FolderState:
    """The published files of one folder and one log, in one JSON file; without a file nothing is remembered.

    Safe to share with Kafka's thread.

    Args:
        file: replaced whole whenever it is saved, so it is never half written.
        folder: absolute path of the folder that the files belong to.
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
        self._keys: dict[str, str] = {}
        self._folders: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._is_changed = False
        self._saved_at_s = time.monotonic()
        self.forgot = ""
        if file is not None and file.exists():
            self._load(file)

    def is_published(self, file: FoundFile) -> bool:
        """Whether the file was confirmed with this very stamp."""
        return self._published.get(file.image_id) == list(file.stamp)

    def ids(self) -> set[str]:
        """The ids that were published and not deleted."""
        with self._lock:
            return set(self._published)

    def key_of(self, image_id: str) -> str:
        """Path below the folder of the file that was published under an id."""
        return self._keys.get(image_id, image_id)

    def add(self, image_id: str, stamp: tuple[int, ...], key: str) -> None:
        """Remember a confirmed file."""
        with self._lock:
            self._published[image_id] = list(stamp)
            if key != image_id:
                self._keys[image_id] = key
            self._is_changed = True

    def remove(self, image_id: str) -> None:
        """Forget an image whose deletion is confirmed."""
        with self._lock:
            self._published.pop(image_id, None)
            self._keys.pop(image_id, None)
            self._is_changed = True

    def folder_before(self, prefix: str) -> Identity | None:
        """What a folder was when something lay in it last."""
        known = self._folders.get(prefix)
        return None if known is None else Identity(*known)

    def know_folders(self, folders: dict[str, Identity]) -> None:
        """Remember what the folders are, by their paths below the first one."""
        known = self._folders | {prefix: [each.device, each.inode] for prefix, each in folders.items()}
        with self._lock:
            self._is_changed |= known != self._folders
            self._folders = known

    def follow(self, log: str) -> bool:
        """Forget everything if the images go to another log now; returns whether that is so."""
        if log == self._log:
            return False
        self.forgot = f"The topic is a new one ({log}, was {self._log}): all files are published again."
        with self._lock:
            self._log = log
            self._published, self._keys = {}, {}
            self._is_changed = True
        return True

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
            text = json.dumps(
                {
                    "folder": self._folder,
                    "log": self._log,
                    "published": self._published,
                    "keys": self._keys,
                    "folders": self._folders,
                }
            )
            self._is_changed = False
        fresh = fresh_file(self._file)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
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
        found = _read(file)
        if found["folder"] != self._folder:
            raise ConfigurationError(
                f"The state file {file} is of the folder {found['folder']!r}, not of {self._folder!r}. Name another: --state FILE."
            )
        # What a folder is does not depend on the topic.
        self._folders = found["folders"]
        if found["log"] == self._log:
            self._published, self._keys = found["published"], found["keys"]
        else:
            self.forgot = f"The topic is a new one ({self._log}, was {found['log']}): all files are published again."


def usual_file(settings: Settings, folder: str) -> Path:
    """Where the state of a folder, an absolute path, is kept when no file is named: one for each folder and topic."""
    digest = hashlib.sha256(os.fsencode(folder) + b"\0" + settings.kafka_topic.encode()).hexdigest()[:16]
    return settings.var_dir / "folders" / f"{digest}.json"


def claimed_by_others(settings: Settings, folder: str, log: str, image_ids: Iterable[str]) -> dict[str, str]:
    """Which of the ids other folders were published under as well, as far as their usual state files tell; with that folder."""
    wanted = set(image_ids)
    claimed: dict[str, str] = {}
    for file in sorted((settings.var_dir / "folders").glob("*.json")):
        try:
            found = _read(file)
        except ConfigurationError:
            continue  # It is told of when its own folder is published.
        if found["log"] == log and found["folder"] != folder:
            claimed |= dict.fromkeys(wanted & found["published"].keys(), found["folder"])
    return claimed


def fresh_file(file: Path) -> Path:
    """The file that is written before it takes the place of the state file."""
    return file.with_name(file.name + ".new")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
        return {
            "folder": str(found["folder"]),
            "log": str(found["log"]),
            "published": dict(found["published"]),
            # An earlier version did not write these.
            **{name: dict(found.get(name, {})) for name in ("keys", "folders")},
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{file} is no state file ({error!r}). Delete it to publish everything again, or name another."
        ) from error
