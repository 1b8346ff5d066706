"""Manifests and CURRENT: the truth as it was written, or a refusal; also where the checksum is made to fit."""

import atexit
import hashlib
import shutil
import tempfile
from pathlib import Path

import msgspec

from contract.errors import IndexDamagedError
from gallery.generations.files import seal, unseal
from gallery.generations.manifest import CURRENT, Manifest, current_name, read_manifest
from gallery.generations.reader import Reader
from gallery.nearest.compiled import compile_search
from tests.conftest import COMPILED_DIR
from tests.unit.test_index import ENCODER
from tests.unit.test_index_mutants import grown

SIZE_BYTES_MAX = 4096

compile_search(COMPILED_DIR)
_MEMORY = Path("/dev/shm")
_FOLDER = Path(tempfile.mkdtemp(prefix="lookalike-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_NAME = grown(_FOLDER).writer.current_name()
_PATH = _FOLDER / "generations" / _NAME
_WHOLE = _PATH.read_bytes()
_TRUTH = read_manifest(_FOLDER, _NAME)


def corpus() -> list[bytes]:
    """The manifest as it lies on the disk, its body alone, and its name."""
    return [_WHOLE, unseal(_WHOLE)[0], _NAME.encode(), b"00000001.json"]


def attempt(value: bytes) -> None:
    """Put it in the manifest's place as it is and sealed anew, and in that of CURRENT."""
    assert _read(_NAME, value) in (None, _TRUTH)
    assert (_read(_NAME, value) is not None) == (value == _WHOLE)
    _check_sealed(value)
    _PATH.write_bytes(_WHOLE)
    (_FOLDER / CURRENT).write_bytes(value)
    reader = Reader(_FOLDER, ENCODER)
    found = reader.current()
    assert (found is None) == bool(reader.refused)
    if found is None:
        return
    assert found.manifest == _TRUTH and current_name(_FOLDER) == _NAME


def _check_sealed(value: bytes) -> None:
    """A checksum that fits cannot be told from a writer's; what it seals is read as it is, or refused as no manifest."""
    content = seal(value)
    number = int.from_bytes(hashlib.sha256(value).digest()[:2], "big")
    try:
        number = msgspec.json.decode(value, type=Manifest).generation
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    try:
        checksum = unseal(content)[1]
    except ValueError:  # it does not begin as an object does
        return
    found = _read(f"{number:08d}-{checksum[:16]}.json", content)
    if found is not None:
        assert msgspec.json.decode(msgspec.json.encode(found), type=Manifest) == found
        try:
            snapshot = Reader(_FOLDER, ENCODER).load(found)
        except IndexDamagedError:
            return
        assert snapshot.count == found.count


def _read(name: str, content: bytes) -> Manifest | None:
    path = _FOLDER / "generations" / Path(name).name
    path.write_bytes(content)
    try:
        return read_manifest(_FOLDER, name)
    except IndexDamagedError:
        return None
    finally:
        if path != _PATH:
            path.unlink()
