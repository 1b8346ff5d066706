"""Proves that a generation holds exactly what its coverage says, by reading the feed again and folding it plainly."""

from collections.abc import Iterator
from dataclasses import dataclass

from gallery.generations.fold import Position
from gallery.generations.set_aside import why_unusable
from gallery.generations.snapshot import Snapshot
from gallery.store.rows import FeedRow
from gallery.store.store import Store
from runtime.progress import progress_line

READ_ROWS_MAX = 4096


@dataclass(frozen=True)
class Verification:
    """What was compared, each difference as a sentence, and each row that was set aside as one."""

    rows_read: int
    images: int
    differences: list[str]
    set_aside: list[str]


def verify(snapshot: Snapshot, store: Store) -> Verification:
    """Compare a snapshot with the feed up to the snapshot's coverage.

    The fold here sorts all records by the rule and keeps the last of each id: slower than the indexer's and independent
    of it.
    """
    newest: dict[str, tuple[Position, bytes | None]] = {}
    differences: list[str] = []
    set_aside: list[str] = []
    rows_read = 0
    total = sum(c.next_offset for coverage in snapshot.manifest.logs for c in coverage.partitions.values())
    with progress_line("verifying", total, "offsets") as bar:
        for number, coverage in enumerate(snapshot.manifest.logs):
            for partition, covered in coverage.partitions.items():
                offset = effective_ms = 0
                for row in feed_rows(store, snapshot, number, int(partition), 0, covered.next_offset):
                    if row.after > offset:
                        differences.append(f"{coverage.log} {partition}: the feed lacks [{offset}, {row.after}).")
                    bar.update(row.offset + 1 - offset)
                    offset = row.offset + 1
                    rows_read += 1
                    effective_ms = max(effective_ms, row.kafka_time_ms)
                    position = Position(number, effective_ms, int(partition), row.offset, row.kafka_time_ms)
                    if unusable := why_unusable(row, snapshot.manifest.dimensions):
                        set_aside.append(
                            f"{coverage.log} {partition}: the row at offset {row.offset} of {row.image_id[:300]!r} is set "
                            f"aside: {unusable}."
                        )
                        continue
                    known = newest.get(row.image_id)
                    if row.outcome in ("put", "delete") and (known is None or known[0] < position):
                        newest[row.image_id] = (position, row.embedding if row.outcome == "put" else None)
                if offset != covered.next_offset:
                    differences.append(
                        f"{coverage.log} {partition}: the feed ends at {offset}, the generation claims up to "
                        f"{covered.next_offset}."
                    )
    expected = {image_id: (p, e) for image_id, (p, e) in newest.items() if e is not None}
    return Verification(rows_read, len(expected), differences + _compare(snapshot, expected), set_aside)


def feed_rows(store: Store, snapshot: Snapshot, number: int, partition: int, start: int, end: int) -> Iterator[FeedRow]:
    """The rows in [start, end) of one partition of the snapshot's feed, across gaps."""
    log, encoder = snapshot.manifest.logs[number].log, snapshot.manifest.encoder
    offset: int | None = start
    while offset is not None and offset < end:
        rows = store.read_feed(log, encoder, partition, offset, READ_ROWS_MAX)
        for row in rows:
            if row.offset >= end:
                return
            yield row
        offset = rows[-1].offset + 1 if rows else store.next_feed_bucket(log, encoder, partition, offset)


def _compare(snapshot: Snapshot, expected: dict[str, tuple[Position, bytes]]) -> list[str]:
    held = dict(snapshot.contents())
    missing, extra = expected.keys() - held.keys(), held.keys() - expected.keys()
    differences = [f"{image_id!r} is missing from the generation." for image_id in sorted(missing)]
    differences += [f"{image_id!r} is in the generation but not in the feed." for image_id in sorted(extra)]
    differences += [
        f"{image_id!r} comes from {held[image_id][0]}, the feed says {expected[image_id][0]}, or its embedding differs."
        for image_id in sorted(expected.keys() & held.keys())
        if held[image_id] != expected[image_id]
    ]
    if snapshot.count != len(expected):
        differences.append(f"The generation counts {snapshot.count} images, the feed says {len(expected)}.")
    if sum(1 for _ in snapshot.contents()) != len(held):
        differences.append("An image is in the generation twice.")
    return differences
