"""Has another encoder's index answer, once it covers as much and is proven to hold the same images."""

import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path

from contract.errors import LookalikeError
from contract.record_key import RecordKey
from gallery.generations.fold import Fold, PartitionProgress, Position
from gallery.generations.reader import Reader
from gallery.generations.serving import Serving, ServingFile, index_names, write_serving
from gallery.generations.snapshot import Snapshot
from gallery.store.feed import Feed

COVERAGE_POLL_S = 0.02


@dataclass(frozen=True)
class IndexComparison:
    """Two encoders' generations at equal coverage.

    Attributes:
        images: in the index that is to answer.
        records_between: what it covers beyond the other one.
        differences: each as a sentence.
    """

    images: int
    records_between: int
    differences: list[str]


def promote(
    index_dir: Path,
    feed: Feed,
    *,
    to: str,
    default: str,
    wait_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> IndexComparison | None:
    """Have the index of the encoder `to` answer; None when it does already. With differences nothing was changed.

    Both indexes may be growing. Proven is that the new one is the old one, as it was when this began, and the records
    that came since.

    Args:
        default: the encoder that answers where nobody was promoted yet.
        wait_s: how long the new index may take to cover what the old one covers now.
        clock: seconds that only go forward.

    Raises:
        LookalikeError: there is no such index, or it did not come to cover as much.
    """
    serving = ServingFile(index_dir, default).current()
    if serving.encoder == to:
        return None
    if to not in index_names(index_dir):
        known = ", ".join(index_names(index_dir)) or "none"
        raise LookalikeError(
            f"There is no index of {to!r} in {index_dir}, only: {known}. Start its embedder and indexer beside the others: "
            f"LOOKALIKE_NEXT_ENCODER={to} python -m stack up"
        )
    old = Reader(index_dir / serving.encoder, fingerprint=None).current()
    new = _covering(Reader(index_dir / to, fingerprint=None), old, to, wait_s, clock)
    # Without an old index there is nothing to fall behind and nothing to differ from.
    compared = compare_indexes(old, new, feed) if old else IndexComparison(new.count, 0, [])
    if not compared.differences:
        write_serving(index_dir, Serving(to, before=serving.encoder))
    return compared


def rollback(index_dir: Path, feed: Feed, *, default: str, wait_s: float) -> tuple[str, IndexComparison | None]:
    """The same step back to the encoder that answered before; returns its name too.

    Raises:
        LookalikeError: as `promote`, or none answered before.
    """
    before = ServingFile(index_dir, default).current().before
    if not before:
        raise LookalikeError(
            f"No encoder answered before in {index_dir}. Choose one: python -m gallery promote ENCODER"
        )
    return before, promote(index_dir, feed, to=before, default=default, wait_s=wait_s)


def compare_indexes(old: Snapshot, new: Snapshot, feed: Feed) -> IndexComparison:
    """Compare the images of two generations, of which `new` covers at least what `old` does.

    What `new` covers beyond `old` is folded onto `old` from the feed, so both are compared at equal coverage: every id, and
    which record it means.
    """
    logs = [coverage.log for coverage in new.manifest.logs]
    if [coverage.log for coverage in old.manifest.logs] != logs[: len(old.manifest.logs)]:
        return IndexComparison(
            new.count, 0, [f"The indexes disagree on the gallery's logs: {old.manifest.logs}, {logs}."]
        )
    differences = []
    live = {image_id: position for image_id, (position, _) in old.contents()}
    latest = live | {image_id.decode(): position for image_id, position in old.deleted().items()}
    fold = Fold(latest.get, dimensions=new.manifest.dimensions)
    for number, coverage in enumerate(old.manifest.logs):
        for partition, covered in coverage.partitions.items():
            fold.progress[number, int(partition)] = PartitionProgress(covered.next_offset, covered.effective_ms)
    records = 0
    for number, coverage in enumerate(new.manifest.logs):
        for partition, covered in coverage.partitions.items():
            fold.follow(number, int(partition))
            progress = fold.progress[number, int(partition)]
            start = RecordKey(coverage.log, int(partition), progress.next_offset)
            rows = list(feed.walk(start, fingerprint=new.manifest.encoder, end_offset=covered.next_offset))
            records += len(rows)
            for entry in fold.add(number, int(partition), rows):
                if entry.is_late:
                    continue
                latest[entry.image_id] = entry.position
                live.pop(entry.image_id, None)
                if entry.embedding is not None:
                    live[entry.image_id] = entry.position
            if progress.next_offset != covered.next_offset:
                differences.append(
                    f"{coverage.log} {partition}: the feed hangs together up to {progress.next_offset}, the generation "
                    f"claims up to {covered.next_offset}."
                )
    return IndexComparison(new.count, records, differences + _differences(live, new, old.manifest.not_shown))


def _covering(reader: Reader, old: Snapshot | None, name: str, wait_s: float, clock: Callable[[], float]) -> Snapshot:
    """The newest generation as soon as it covers all that `old` does."""
    deadline = clock() + wait_s
    while True:
        new = reader.current()
        if new is not None and (old is None or new.manifest.covers(old.manifest)):
            return new
        if clock() > deadline:
            raise LookalikeError(
                reader.refused
                or f"After {wait_s:g} s the index of {name} {_lack(new, old)}. Do its embedder and indexer run? Nothing was "
                "changed; try again when it has caught up."
            )
        time.sleep(COVERAGE_POLL_S)


def _lack(new: Snapshot | None, old: Snapshot | None) -> str:
    if new is None or old is None:
        return "has no generation"
    return f"lacks {new.manifest.lacks(old.manifest):,} records that answers cover now"


def _differences(expected: dict[str, Position], new: Snapshot, unknown: Container[str]) -> list[str]:
    """Where `new` differs from what was `expected`; of ids in `unknown` the old index does not hold the newest record."""
    held = {image_id: position for image_id, (position, _) in new.contents()}
    not_shown = new.manifest.not_shown
    differences = [
        f"{i!r} is missing from the new index."
        for i in sorted(expected.keys() - held.keys())
        if i not in unknown or i in not_shown
    ]
    differences += [
        f"{i!r} is only in the new index." for i in sorted(held.keys() - expected.keys()) if i not in unknown
    ]
    differences += [
        f"{i!r} comes from {expected[i]} in the old index and from {held[i]} in the new one."
        for i in sorted(expected.keys() & held.keys())
        if _record(expected[i]) != _record(held[i]) and i not in unknown
    ]
    return [
        f"{said} Its newest record is set aside there ({not_shown[i].reason}): publish it again." if i else said
        for said in differences
        for i in [next((each for each in not_shown if said.startswith(repr(each))), "")]
    ]


def _record(position: Position) -> tuple[int, int, int]:
    return position.log_number, position.partition, position.offset
