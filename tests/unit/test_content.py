"""The digest of what ids mean: the same wherever the same records were folded, and another one where anything differs."""

import random
from pathlib import Path

import pytest

from contract.record_key import RecordKey
from gallery.generations.content import ContentSum
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow
from tests.unit.test_index import ENCODER, embedding

LOG = "images:x"
PARTITIONS = 3


def drawn_rows(chance: random.Random, count: int) -> dict[int, list[FeedRow]]:
    """Puts, replacements and deletes of few ids, by partition; ids go from one partition to another."""
    rows: dict[int, list[FeedRow]] = {partition: [] for partition in range(PARTITIONS)}
    for number in range(count):
        partition = chance.randrange(PARTITIONS)
        offset = len(rows[partition])
        image_id = f"{chance.randrange(count // 3)}"
        is_put = chance.random() < 0.8
        rows[partition].append(
            FeedRow(
                RecordKey(LOG, partition, offset),
                offset,
                "put" if is_put else "delete",
                "",
                image_id,
                embedding(number).astype("<f4").tobytes() if is_put else None,
                chance.randrange(1000),
                metadata="{}" if is_put else None,
            )
        )
    return rows


def folded(folder: Path, rows: dict[int, list[FeedRow]], chance: random.Random) -> Writer:
    """A writer that has met all rows, in an order of chance between partitions, with bases and restarts in between."""
    writer = Writer(folder, ENCODER)
    writer.set_logs([LOG])
    left = {partition: list(found) for partition, found in rows.items()}
    while any(left.values()):
        partition = chance.choice([partition for partition, found in left.items() if found])
        some, left[partition] = left[partition][: (n := chance.randint(1, 20))], left[partition][n:]
        writer.stage(writer.fold.add(0, partition, some))
        writer.publish()
        what = chance.random()
        if what < 0.2:
            name, merged = writer.next_base_name(), writer.manifest.tail.entries
            build_base(folder, generation_name=writer.current_name(), base_name=name)
            writer.replace_base(name, merged)
        elif what < 0.4:
            writer.close()
            writer = Writer(folder, ENCODER)
            writer.set_logs([LOG])
    return writer


def test_folders_with_other_histories_have_one_content_digest_at_equal_coverage(
    tmp_path: Path, chance: random.Random
) -> None:
    rows = drawn_rows(chance, 300)
    first, second = (folded(tmp_path / name, rows, chance) for name in ("first", "second"))
    assert first.manifest.logs == second.manifest.logs
    assert first.manifest.digest != second.manifest.digest, "or the test has no other histories"
    assert first.manifest.content_digest == second.manifest.content_digest
    snapshot = Reader(tmp_path / "first", ENCODER).current()
    assert snapshot is not None
    summed = ContentSum()
    for image_id, (position, held) in snapshot.contents():
        summed.add(image_id.encode(), position, held, [LOG])
    assert summed.digest == first.manifest.content_digest


@pytest.mark.parametrize("what", ["embedding", "offset", "id", "deleted"])
def test_a_content_digest_tells_any_image_that_differs(tmp_path: Path, what: str) -> None:
    def digest(folder: Path, image_id: str, offset: int, seed: int, *, deletes: bool) -> str:
        writer = Writer(folder, ENCODER)
        writer.set_logs([LOG])
        put = FeedRow(RecordKey(LOG, 0, offset), 0, "put", "", image_id, embedding(seed).tobytes(), 5, metadata="{}")
        gone = FeedRow(RecordKey(LOG, 0, offset + 1), 0, "delete", "", image_id, None, 5)
        writer.stage(writer.fold.add(0, 0, [put, gone] if deletes else [put]))
        return writer.publish().content_digest

    usual = digest(tmp_path / "usual", "a", 3, 1, deletes=False)
    other = digest(
        tmp_path / "other",
        "b" if what == "id" else "a",
        4 if what == "offset" else 3,
        2 if what == "embedding" else 1,
        deletes=what == "deleted",
    )
    assert usual != other
    assert (other == ContentSum().digest) == (what == "deleted")
