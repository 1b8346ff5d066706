"""Duplicates as plain loops over plain records say them, and a store of such records for a run over a real generation."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.duplicates.found import Judgement
from gallery.duplicates.grouping import COMPARED_MAX, Grouped, Grouping, NearPair
from gallery.generations.snapshot import Snapshot
from gallery.store.distinct import DistinctSet
from gallery.store.rows import RecordSummary
from workers.duplicates.gathering import GatheredImages, apart_rows, gather


@dataclass(frozen=True)
class Known:
    """A record that brought an image."""

    id: str
    key: RecordKey
    kafka_time_ms: int
    embedding: NDArray[np.float32]
    summary: RecordSummary


class KnownRecords:
    """What gathering asks of `gallery.store.records.Records`."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._known = {each.key: each.summary for each in known}

    def summaries(self, keys: Iterable[RecordKey]) -> Iterator[RecordSummary]:
        yield from (self._known[key] for key in keys if key in self._known)


def is_copy(one: Known, other: Known) -> bool:
    """A verdict that depends on both records and nothing else."""
    return hashlib.sha256(repr((one.key, other.key)).encode()).digest()[0] < 90


# Of a group its class, and of each image its id and that of the one that it was compared with.
Told = tuple[str, tuple[tuple[str, str], ...]]


def groups_of(
    snapshot: Snapshot, live: Mapping[str, Known], sets: Iterable[DistinctSet], max_distance: float
) -> list[Told]:
    """As the product finds them."""
    images = gather(snapshot, KnownRecords(live.values()))  # type: ignore[arg-type]

    def judge(pairs: Iterable[NearPair]) -> dict[tuple[int, int], Judgement]:
        return {
            (pair.copy, pair.original): Judgement(is_copy(known(images, pair.copy), known(images, pair.original)))
            for pair in pairs
        }

    def known(images: GatheredImages, row: int) -> Known:
        return live[images.ids[row].decode()]

    grouping = Grouping(
        images.embeddings,
        [record.bytes_sha256 if record else b"" for record in images.records],
        [record.pixels_sha256 if record else b"" for record in images.records],
        apart_rows(images, sets),
        max_distance,
        judge,
    )
    name = ["", *(image_id.decode() for image_id in images.ids)]
    return [_told(grouped, lambda row: name[row + 1]) for grouped in grouping.groups()]


def _told(grouped: Grouped, name: Callable[[int], str]) -> Told:
    return grouped.kind, tuple((name(row), name(of)) for row, of in zip(grouped.rows, grouped.of, strict=True))


def groups_by_brute_force(live: Mapping[str, Known], sets: Iterable[DistinctSet], max_distance: float) -> list[Told]:
    """As the rules say them."""
    apart = [set(each.images) for each in sets]
    left = sorted(
        live.values(),
        key=lambda each: (-each.summary.width * each.summary.height, each.kafka_time_ms, each.id.encode()),
    )

    def may(one: Known, other: Known) -> bool:
        return not any({(one.id, one.key), (other.id, other.key)} <= each for each in apart)

    def distance(one: Known, other: Known) -> float:
        return float(np.sqrt(np.sum((one.embedding.astype(np.float64) - other.embedding) ** 2)))

    found: list[Told] = []

    def take(kind: str, joined: list[tuple[Known, Known, Known]]) -> None:
        """Triples of an image, what it was compared with, and the best one of its group."""
        for best in [each for each in left if any(each is triple[2] for triple in joined)]:
            members = [(image.id, of.id) for image, of, first in joined if first is best]
            found.append((kind, ((best.id, ""), *members)))
        for image, _, _ in joined:
            left.remove(image)

    for kind, hash_of in (
        ("same bytes", lambda each: each.summary.bytes_sha256),
        ("same pixels", lambda each: each.summary.pixels_sha256),
    ):
        take(kind, _by_stars(left, lambda one, other, h=hash_of: h(one) == h(other) and may(one, other)))  # type: ignore[misc]
    near_ones = {
        image.id for image in left for other in left if other is not image and distance(image, other) <= max_distance
    }
    copies: list[tuple[Known, Known, Known]] = []
    for number, image in enumerate(left):
        before = [(distance(image, other), place, other) for place, other in enumerate(left[:number])]
        for _, _, original in sorted((each for each in before if each[0] <= max_distance), key=lambda each: each[:2])[
            :COMPARED_MAX
        ]:
            best = next((first for copy, _, first in copies if copy is original), original)
            if is_copy(image, original) and may(image, original) and may(image, best):
                copies.append((image, original, best))
                break
    take("altered copy", copies)
    rest = [image for image in left if image.id in near_ones]
    take("near", _by_stars(rest, lambda one, other: distance(one, other) <= max_distance and may(one, other)))
    return found


def _by_stars(images: list[Known], belong: Callable[[Known, Known], bool]) -> list[tuple[Known, Known, Known]]:
    taken: dict[str, tuple[Known, Known, Known]] = {}
    for number, centre in enumerate(images):
        if centre.id not in taken:
            for other in images[number + 1 :]:
                if other.id not in taken and belong(centre, other):
                    taken[other.id] = (other, centre, centre)
    return [taken[image.id] for image in images if image.id in taken]
