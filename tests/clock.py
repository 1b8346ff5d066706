"""Clocks of processes that a test sets: libfaketime, as Debian has it, is loaded into them and reads from a file how far they go wrong."""

import os
import shutil
import subprocess
from pathlib import Path

from stack.jars import ROOT

_LIBRARY = "faketime/libfaketimeMT.so.1"
_FETCHED = ROOT / "var" / "faketime"


class Clock:
    """A clock that goes wrong by so many seconds as it is set to; what counts seconds from a start (`CLOCK_MONOTONIC`) goes on."""

    def __init__(self, file: Path, library: Path, *, is_of_java: bool) -> None:
        self._file = file
        self.set(0)
        # Looked at once a second; a thousand times as often would be a system call for each look at the clock.
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DISABLE_SHM": "1",  # or those that are killed leave theirs behind
        }
        if is_of_java:  # or its waits end at once, and it does nothing else than wait again; Python's fail with it
            self.environment["FAKETIME_FORCE_MONOTONIC_FIX"] = "0"

    def set(self, seconds: int) -> None:
        """Step to so many seconds ahead of the machine's clock."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._file)


def libfaketime() -> Path | None:
    """The library, fetched with apt where it is not installed; None where it is not to be had."""
    found = [path for folder in (Path("/usr/lib"), _FETCHED) for path in folder.glob(f"**/{_LIBRARY}")]
    if found:
        return found[0]
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    _FETCHED.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "LC_ALL": "C"}
    fetched = subprocess.run(
        ["apt-get", "download", "-q", "libfaketime"], cwd=_FETCHED, env=environment, capture_output=True, check=False
    )
    for package in _FETCHED.glob("libfaketime_*.deb") if fetched.returncode == 0 else ():
        subprocess.run(["dpkg-deb", "-x", str(package), str(_FETCHED)], capture_output=True, check=False)
    return next(iter(_FETCHED.glob(f"**/{_LIBRARY}")), None)
