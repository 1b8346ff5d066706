"""Proves that a generation holds exactly what its coverage says, by reading the feed again and folding it plainly.

Of earlier records it proves that each is kept, or that a higher record of its id counts in every answer as of an earlier time
that is not refused.
"""

from dataclasses import dataclass, field

import numpy as np

from contract.record_key import RecordKey
from gallery.generations.content import ContentSum
from gallery.generations.flattened import metadata_checksum
from gallery.generations.fold import Position
from gallery.generations.history import Floor
from gallery.generations.snapshot import Snapshot
from gallery.generations.unusable_rows import why_unusable
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from gallery.table.snapshot import AnySnapshot
from runtime.progress import progress_line


@dataclass(frozen=True)
class Verification:
    """What was compared, each difference as a sentence, and each row that was set aside as one."""

    rows_read: int
    images: int
    differences: list[str]
    set_aside: list[str]


def verify(snapshot: AnySnapshot, feed: Feed) -> Verification:
    """Compare a snapshot with the feed up to the snapshot's coverage.

    The fold here sorts all records by the rule and keeps the last of each id: slower than the indexer's and independent
    of it.
    """
    manifest = snapshot.manifest
    keeps_history = isinstance(snapshot, Snapshot)
    told = _Told(
        manifest.dimensions,
        _replaced(snapshot) if isinstance(snapshot, Snapshot) else {},
        snapshot.base.replaced.floor if isinstance(snapshot, Snapshot) else Floor(),
    )
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
    expected = {image_id: (p, e) for image_id, (p, (e, _)) in told.newest.items() if e is not None}
    metadata = {image_id: checksum for image_id, (_, (_, checksum)) in told.newest.items()}
    differences = told.differences + _compare(snapshot, expected) + _compare_metadata(snapshot, metadata)
    differences += told.compare_replaced() if keeps_history else []
    return Verification(told.rows_read, len(expected), differences, told.set_aside)


# What one record says: the embedding of a put, None for a delete; and the checksum of its metadata, 0 without any.
_Content = tuple[bytes | None, int]
# The same with the id that it says it of.
_Said = tuple[str, _Content]


@dataclass
class _Told:
    """What the feed says: of each id its newest record with its embedding, None for a delete.

    Attributes:
        replaced: the earlier records that the generation keeps, less those that the feed has said.
        floor: below which the generation refuses to answer.
        not_kept: of each id the highest earlier record that the generation does not keep.
        always_counts: of each id the highest record that counts in every answer.
    """

    dimensions: int
    replaced: dict[Position, _Said]
    floor: Floor
    not_kept: dict[str, Position] = field(default_factory=dict)
    always_counts: dict[str, Position] = field(default_factory=dict)
    newest: dict[str, tuple[Position, _Content]] = field(default_factory=dict)
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
        if row.outcome not in ("put", "delete"):
            return
        is_put = row.outcome == "put"
        content = (row.embedding, metadata_checksum(row.metadata or "")) if is_put else (None, 0)
        image_id, said = row.image_id, (position, content)
        if self.floor.is_below(position):
            self.always_counts[image_id] = max(position, self.always_counts.get(image_id, position))
        known = self.newest.setdefault(image_id, said)
        if known[0] < position:
            self.newest[image_id], said = said, known
        if self.newest[image_id] is not said:
            self._take_replaced(image_id, *said)

    def compare_replaced(self) -> list[str]:
        """Where the earlier records that the generation keeps differ from those that it needs."""
        return [
            f"{image_id!r}: the record at {position} is not kept, and answers as of then are not refused."
            for image_id, position in sorted(self.not_kept.items())
            if image_id not in self.always_counts or self.always_counts[image_id] <= position
        ] + [
            f"{image_id!r}: the record at {position} is kept as an earlier one, but the feed does not say so."
            for position, (image_id, _) in sorted(self.replaced.items())
        ]

    def _take_replaced(self, image_id: str, position: Position, content: _Content) -> None:
        kept = self.replaced.get(position)
        if kept == (image_id, content):
            del self.replaced[position]
        elif kept is None:  # else it is left as one that the feed does not say
            self.not_kept[image_id] = max(position, self.not_kept.get(image_id, position))


def _replaced(snapshot: Snapshot) -> dict[Position, _Said]:
    """The earlier records that a generation keeps."""
    kept = snapshot.kept()
    is_replaced = ~kept.meant()
    puts, deletes = np.flatnonzero(is_replaced & kept.is_put), np.flatnonzero(is_replaced & ~kept.is_put)
    numbers = np.concatenate([puts, deletes])
    checksums = kept.columns_of(puts).checksums(len(puts)).tolist()
    embeddings = (embedding.astype("<f4").tobytes() for embedding in kept.embeddings_of(puts))
    contents: list[_Content] = [*zip(embeddings, checksums, strict=True), *[(None, 0)] * len(deletes)]
    said = zip((name.decode() for name in kept.image_ids(numbers)), contents, strict=True)
    return dict(zip((Position(*place) for place in kept.positions[numbers].tolist()), said, strict=True))


def _compare(snapshot: AnySnapshot, expected: dict[str, tuple[Position, bytes]]) -> list[str]:
    held = dict(snapshot.contents())
    missing, extra = expected.keys() - held.keys(), held.keys() - expected.keys()
    differences = [f"{image_id!r} is missing from the generation." for image_id in sorted(missing)]
    differences += [f"{image_id!r} is in the generation but not in the feed." for image_id in sorted(extra)]
    differences += [
        f"{image_id!r} comes from {held[image_id][0]}, the feed says {expected[image_id][0]}, or its embedding differs."
        for image_id in sorted(expected.keys() & held.keys())
        if held[image_id] != expected[image_id]
    ]
    logs, content = [coverage.log for coverage in snapshot.manifest.logs], ContentSum()
    for image_id, (position, embedding) in held.items():
        content.add(image_id.encode(), position, embedding, logs)
    if snapshot.manifest.content_digest != content.digest:
        differences.append(
            f"The generation says that its images have the digest {snapshot.manifest.content_digest}, they have {content.digest}."
        )
    if snapshot.count != len(expected):
        differences.append(f"The generation counts {snapshot.count} images, the feed says {len(expected)}.")
    if sum(1 for _ in snapshot.contents()) != len(held):
        differences.append("An image is in the generation twice.")
    return differences


def _compare_metadata(snapshot: AnySnapshot, expected: dict[str, int]) -> list[str]:
    """Of images that both have; the others are told of already."""
    return [
        f"{image_id!r} has other metadata in the generation than in the feed."
        for image_id, held in snapshot.metadata_checksums()
        if expected.get(image_id, held) != held
    ]
