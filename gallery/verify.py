"""Proves that a generation holds exactly what its coverage says, by reading the feed again and folding it plainly."""

from dataclasses import dataclass

from contract.record_key import RecordKey
from gallery.generations.fold import Position
from gallery.generations.snapshot import Snapshot
from gallery.generations.unusable_rows import why_unusable
from gallery.store.feed import Feed
from runtime.progress import progress_line


@dataclass(frozen=True)
class Verification:
    """What was compared, each difference as a sentence, and each row that was set aside as one."""

    rows_read: int
    images: int
    differences: list[str]
    set_aside: list[str]


def verify(snapshot: Snapshot, feed: Feed) -> Verification:
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
                for row in feed.walk(
                    RecordKey(coverage.log, int(partition), 0),
                    fingerprint=snapshot.manifest.encoder,
                    end_offset=covered.next_offset,
                ):
                    if row.after > offset:
                        differences.append(f"{coverage.log} {partition}: the feed lacks [{offset}, {row.after}).")
                    bar.update(row.key.offset + 1 - offset)
                    offset = row.key.offset + 1
                    rows_read += 1
                    effective_ms = max(effective_ms, row.kafka_time_ms)
                    position = Position(number, effective_ms, int(partition), row.key.offset, row.kafka_time_ms)
                    if unusable := why_unusable(row, snapshot.manifest.dimensions):
                        set_aside.append(
                            f"{coverage.log} {partition}: the row at offset {row.key.offset} of {row.image_id[:300]!r} is set "
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
