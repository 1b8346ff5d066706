"""Whatever becomes of the files of an index folder: the answer and coverage of before, or a refusal, never another one."""

import contextlib
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contract.errors import IndexDamagedError
from gallery.generations.manifest import Manifest, read_other_format, write_manifest
from gallery.generations.reader import Reader
from gallery.generations.serving import SERVING, Serving, ServingFile, write_serving
from gallery.generations.snapshot import Snapshot
from gallery.generations.writer import Writer, lock_index
from tests.unit.test_index import ENCODER, Feed, embedding


def _replace(path: Path, content: bytes | bytearray) -> None:
    """Written beside: who has the file mapped keeps what he read, as he does when a folder is restored or synchronised."""
    path.unlink()
    path.write_bytes(content)


def _flip_bit(path: Path, chance: random.Random) -> None:
    blob = bytearray(path.read_bytes())
    blob[chance.randrange(len(blob))] ^= 1 << chance.randrange(8)
    _replace(path, blob)


def _flip_high_bit(path: Path, chance: random.Random) -> None:
    blob = bytearray(path.read_bytes())
    blob[chance.randrange(len(blob))] |= 0x80
    _replace(path, blob)


def _change_digit(path: Path, chance: random.Random) -> None:
    blob = bytearray(path.read_bytes())
    places = [at for at, byte in enumerate(blob) if chr(byte).isascii() and chr(byte).isdigit()] or [0]
    blob[chance.choice(places)] = ord(chance.choice("0123456789"))
    _replace(path, blob)


def _cut(path: Path, chance: random.Random) -> None:
    _replace(path, path.read_bytes()[: chance.randrange(path.stat().st_size)])


def _extend(path: Path, chance: random.Random) -> None:
    _replace(path, path.read_bytes() + chance.choice([b"\0", b" ", b"}", b"\xff" * 9, chance.randbytes(200)]))


def _zero(path: Path, chance: random.Random) -> None:
    blob = bytearray(path.read_bytes())
    start = chance.choice([0, chance.randrange(len(blob))])
    blob[start:] = bytes(len(blob) - start)
    _replace(path, blob)


def _remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def _swap(path: Path, chance: random.Random) -> None:
    other = chance.choice(sorted(each for each in path.parent.iterdir() if each.is_file()))
    mine, its = path.read_bytes(), other.read_bytes()
    _replace(path, its)
    _replace(other, mine)


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()
    if chance.random() < 0.5:
        (path / "something").write_text("in it")


def _link(path: Path, chance: random.Random) -> None:
    other = chance.choice([*sorted(each for each in path.parent.iterdir() if each != path), Path("nowhere"), path])
    path.unlink()
    path.symlink_to(other)


def _file_for_its_folder(path: Path, chance: random.Random) -> None:
    if path.parent.name in ("generations", "tails") or path.parent.parent.name == "bases":
        folder = path.parent
        shutil.rmtree(folder)
        if chance.random() < 0.7:
            folder.write_text("a file") if chance.random() < 0.5 else folder.symlink_to("nowhere")
    else:
        path.unlink()


WAYS: list[Callable[[Path, random.Random], None]] = [
    _flip_bit, _flip_high_bit, _change_digit, _cut, _extend, _zero, _remove, _swap, _folder, _link, _file_for_its_folder,
]  # fmt: skip


def grown(folder: Path) -> Feed:
    feed = Feed(folder)
    told = [f'{{"label":{n % 3},"tags":["a","{n}"]}}' for n in range(20)]
    feed.add(*[(f"id/{n}", embedding(n)) for n in range(20)], ("id/3", None), metadata=told)
    feed.rebuild()
    feed.add(("ä", embedding(50)), ("id/1", embedding(51)), metadata=['{"ä":null}', '{"label":9}'])
    feed.add(("id/2", None), ("short", embedding(1)[:9]))
    return feed


def _told(snapshot: Snapshot | None) -> object:
    if snapshot is None:
        return None
    manifest = snapshot.manifest
    answer = [(match.image_id, match.distance) for match in snapshot.search(embedding(51), 30)]
    return msgspec.to_builtins(manifest), sorted(snapshot.contents()), answer


def _covered(manifest: Manifest) -> object:
    return manifest.index_id, manifest.logs, manifest.count, manifest.rejected, manifest.set_aside


def _of_another_index(folder: Path) -> Callable[[Path, random.Random], None]:
    """A way that puts a file of an index of other images in the place of one that is named alike."""
    others = sorted(path for path in folder.rglob("*") if path.is_file())

    def replace(path: Path, chance: random.Random) -> None:
        alike = [other for other in others if other.name == path.name] or [
            other for other in others if other.suffix == path.suffix
        ]
        _replace(path, chance.choice(alike).read_bytes())

    return replace


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is such a place: on a disk, most of the time goes into having it written."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutants", [500, pytest.param(4000, marks=pytest.mark.thorough)])
def test_mutants_of_an_index_are_answered_as_before_or_refused(in_memory: Path, mutants: int) -> None:
    feed = grown(in_memory / "whole")
    another = Feed(in_memory / "another")
    another.add(*[(f"id/{n}", embedding(n + 90)) for n in range(20)])
    another.rebuild()
    another.add(("id/1", embedding(51)))
    another.writer.close()
    all_ways = [*WAYS, _of_another_index(another.folder)]
    before, folder = Reader(feed.folder, ENCODER).current(), in_memory / "mutant"
    assert before is not None
    told = _told(before)
    (in_memory / "outside").write_text("not ours")
    files = sorted(path.relative_to(feed.folder) for path in feed.folder.rglob("*") if path.is_file())
    newest = Path("generations") / (feed.folder / "CURRENT").read_text()
    tail = Path("tails") / feed.writer.manifest.tail.name
    chance = random.Random(7)
    refused = 0
    for number in range(mutants):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(feed.folder, folder)
        # Half of them where they hurt most; the rest anywhere.
        name = chance.choice([Path("CURRENT"), newest, newest, tail] if number % 2 else files)
        way = chance.choice(all_ways)
        ways = f"mutant {number}: {way.__name__} of {name}"
        serving = Reader(folder, ENCODER)
        assert serving.current() is not None
        way(folder / name, chance)
        if (folder / "CURRENT").is_file():
            os.utime(folder / "CURRENT")  # so that a reader that is serving looks again
        assert _told(serving.current()) == told, ways
        opened = Reader(folder, ENCODER)
        found = _told(opened.current())
        assert found in (None, told), ways
        refused += found is None
        if number % 5:
            continue
        # A writer goes on from it, or begins anew.
        lock = lock_index(folder)
        assert lock is not None, ways
        os.close(lock)
        writer = Writer(folder, ENCODER)
        if writer.manifest.index_id == before.manifest.index_id:
            assert _covered(writer.manifest) == _covered(before.manifest), ways
        else:
            assert writer.manifest.logs == [], ways
        writer.set_logs(["images:x"])
        writer.publish()
        writer.close()
        assert Reader(folder, ENCODER).current() is not None, ways
    assert mutants // 4 < refused < mutants


@pytest.mark.parametrize("field", ["next_offset", "effective_ms", "count", "generation", "expired", "published_at_ms"])
def test_one_changed_digit_of_a_manifest_is_refused(tmp_path: Path, field: str) -> None:
    grown(tmp_path)
    path = tmp_path / "generations" / (tmp_path / "CURRENT").read_text()
    content = path.read_bytes()
    at = content.index(f'"{field}":'.encode()) + len(field) + 3
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    reader = Reader(tmp_path, ENCODER)
    assert reader.current() is None
    assert "checksum" in reader.refused


def test_older_manifest_in_the_place_of_the_newest_is_refused(tmp_path: Path) -> None:
    grown(tmp_path)
    newest = tmp_path / "generations" / (tmp_path / "CURRENT").read_text()
    oldest = min((tmp_path / "generations").iterdir())
    newest.write_bytes(oldest.read_bytes())
    reader = Reader(tmp_path, ENCODER)
    assert reader.current() is None
    assert oldest.name in reader.refused


def test_mutants_of_who_answers_are_told_as_before_or_refused(tmp_path: Path) -> None:
    write_serving(tmp_path, Serving("contrast", before="report-autoencoder"))
    path, whole = tmp_path / SERVING, (tmp_path / SERVING).read_bytes()
    (tmp_path / "beside").write_bytes(b"{}")
    chance = random.Random(3)
    for number in range(300):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.write_bytes(whole)
        way = chance.choice([each for each in WAYS if each not in (_remove, _file_for_its_folder, _swap)])
        way(path, chance)
        with contextlib.suppress(IndexDamagedError):
            assert ServingFile(tmp_path, "default").current() in (
                Serving("contrast", before="report-autoencoder"),
                *([Serving("default")] if not path.exists() else []),
            ), (number, way)
    write_serving(tmp_path, Serving("contrast"))
    assert ServingFile(tmp_path, "default").current() == Serving("contrast")


@pytest.mark.parametrize("number", [2, 3])
def test_index_of_an_older_format_is_refused_and_begun_anew(tmp_path: Path, number: int) -> None:
    """It lacks the metadata, so filters would not be exact. It stays current until the new one covers as much."""
    if number == 2:
        shutil.copytree(Path(__file__).parents[1] / "golden" / "index-format-2", tmp_path, dirs_exist_ok=True)
    else:
        manifest = msgspec.structs.replace(grown(tmp_path).writer.manifest, format=3)
        name, content = write_manifest(manifest)
        (tmp_path / "generations" / name).write_bytes(content)
        (tmp_path / "CURRENT").write_text(name)
    reader = Reader(tmp_path, ENCODER)
    assert reader.current() is None
    assert f"format {number}" in reader.refused
    older, before = read_other_format(tmp_path), (tmp_path / "CURRENT").read_text()
    assert older is not None and older.format == number
    feed = Feed(tmp_path)
    assert feed.offset == 0 and feed.writer.manifest.generation > int(before[:8])
    wanted = max(
        [c.next_offset for log in older.logs if log.log == "images:x" for c in log.partitions.values()], default=1
    )
    feed.add(*((str(n), embedding(n)) for n in range(wanted - 1)))
    feed.writer.close()
    feed = Feed(tmp_path)  # ended meanwhile, and started again
    for n in range(wanted):
        assert (tmp_path / "CURRENT").read_text() == before and (tmp_path / "generations" / before).exists()
        feed.add((str(n), embedding(n)))
    new = reader.current()
    assert new is not None and new.count == wanted and reader.refused == ""
    assert not (tmp_path / "generations" / before).exists()


def test_index_that_a_blank_picture_ended_in_the_version_before_goes_on(tmp_path: Path) -> None:
    before = Feed(tmp_path)
    before.add(("a", embedding(1)))
    writer = before.writer
    with (tmp_path / "tails" / writer.manifest.tail.name).open("ab") as file:  # appended, and ended before it published
        file.write(b"\1\5\0" + bytes(52) + b"blank" + np.full(128, np.nan, "<f4").tobytes())
    writer.close()
    feed = Feed(tmp_path)
    feed.add(("blank", embedding(1) * np.float32("nan")), ("next", embedding(77)))
    reader = Reader(tmp_path, ENCODER)
    snapshot = reader.current()
    assert snapshot is not None
    assert snapshot.search(embedding(77), 1)[0].image_id == "next"
    assert snapshot.manifest.set_aside == {"embedding-not-finite": 1} and set(snapshot.manifest.not_shown) == {"blank"}
    feed.add(("blank", embedding(9)))
    again = reader.current()
    assert again is not None and again.find("blank") is not None and again.manifest.not_shown == {}
