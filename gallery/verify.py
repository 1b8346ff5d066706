"""Proves that a generation holds exactly what its coverage says, by reading the feed again and folding it plainly."""

from dataclasses import dataclass, field

from contract.record_key import RecordKey
from gallery.generations.fold import Position
from gallery.generations.snapshot import Snapshot
from gallery.generations.unusable_rows import why_unusable
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
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
    manifest, told = snapshot.manifest, _Told(snapshot.manifest.dimensions)
    total = sum(c.next_offset for coverage in manifest.logs for c in coverage.partitions.values())
    with progress_line("verifying", total, "offsets") as bar:
        for number, coverage in enumerate(manifest.logs):
            for partition, covered in coverage.partitions.items():
                start, end = RecordKey(coverage.log, int(partition), 0), covered.next_offset
                reached = effective_ms = 0
                for row in feed.walk(start, fingerprint=manifest.encoder, end_offset=end):
                    if row.after > reached:
                        told.differences.append(f"{coverage.log} {partition}: the feed lacks [{reached}, {row.after}).")
                    bar.update(row.key.offset + 1 - reached)
                    reached = row.key.offset + 1
                    effective_ms = max(effective_ms, row.kafka_time_ms)
                    told.take(row, Position(number, effective_ms, int(partition), row.key.offset, row.kafka_time_ms))
                if reached != end:
                    told.differences.append(
                        f"{coverage.log} {partition}: the feed ends at {reached}, the generation claims up to {end}."
                    )
    expected = {image_id: (p, e) for image_id, (p, e) in told.newest.items() if e is not None}
    differences = told.differences + _compare(snapshot, expected)
    return Verification(told.rows_read, len(expected), differences, told.set_aside)


@dataclass
class _Told:
    """What the feed says: of each id its newest record with its embedding, None for a delete."""

    dimensions: int
    newest: dict[str, tuple[Position, bytes | None]] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)
    rows_read: int = 0

    def take(self, row: FeedRow, position: Position) -> None:
        self.rows_read += 1
        if why := why_unusable(row, self.dimensions):
            log, partition, offset = row.key
            self.set_aside.append(
                f"{log} {partition}: the row at offset {offset} of {row.image_id[:300]!r} is set aside: {why}."
            )
            return
        known = self.newest.get(row.image_id)
        if row.outcome in ("put", "delete") and (known is None or known[0] < position):
            self.newest[row.image_id] = (position, row.embedding if row.outcome == "put" else None)


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
