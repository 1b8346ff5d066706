"""All images of a generation with what the store knows of them, the best first: most pixels, then oldest, then by id."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contract.record_key import RecordKey
from gallery.duplicates.found import Duplicate
from gallery.generations.fold import Position
from gallery.generations.kept import Kept
from gallery.generations.snapshot import Snapshot
from gallery.store.distinct import DistinctSet
from gallery.store.records import Records
from gallery.store.rows import RecordSummary

_ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class GatheredImages:
    """All images, the best first.

    Attributes:
        embeddings: (n, d) float32.
        ids: in UTF-8.
        unknown: images without a row in the store; without a size they come last.
    """

    embeddings: NDArray[np.float32]
    ids: list[bytes]
    keys: list[RecordKey]
    kafka_times_ms: list[int]
    records: list[RecordSummary | None]

    @property
    def unknown(self) -> int:
        """Images without a row in the store."""
        return sum(record is None for record in self.records)

    def duplicate(self, row: int) -> Duplicate:
        """An image as a group shows it."""
        record = self.records[row]
        size = (record.width, record.height, record.size_bytes) if record else (0, 0, 0)
        return Duplicate(self.ids[row].decode(), *self.keys[row], self.kafka_times_ms[row], *size)


def gather(snapshot: Snapshot, records: Records) -> GatheredImages:
    """Read what there is of each image, without pictures.

    Raises:
        DependencyError: Cassandra did not answer.
    """
    kept = snapshot.kept()
    numbers = np.flatnonzero(kept.meant() & kept.is_put)
    ids = kept.image_ids(numbers)
    positions = [Position(*each) for each in kept.positions[numbers].tolist()]
    logs = [coverage.log for coverage in snapshot.manifest.logs]
    keys = [RecordKey(logs[each.log_number], each.partition, each.offset) for each in positions]
    known = {summary.key: summary for summary in records.summaries(keys)}
    pixels = [summary.width * summary.height if (summary := known.get(key)) else 0 for key in keys]
    order = sorted(range(len(ids)), key=lambda place: (-pixels[place], positions[place].kafka_time_ms, ids[place]))
    return GatheredImages(
        _embeddings(kept, numbers[np.array(order, np.int64)], snapshot.dimensions),
        [ids[place] for place in order],
        [keys[place] for place in order],
        [positions[place].kafka_time_ms for place in order],
        [known.get(keys[place]) for place in order],
    )


def apart_rows(images: GatheredImages, sets: Iterable[DistinctSet]) -> dict[int, set[int]]:
    """For each row those that a person said are no duplicates of it; of records that are no longer meant nothing is left."""
    row_of = {
        (image_id.decode(), key): row for row, (image_id, key) in enumerate(zip(images.ids, images.keys, strict=True))
    }
    apart: dict[int, set[int]] = {}
    for each in sets:
        rows = {row for image in each.images if (row := row_of.get(image)) is not None}
        for row in rows:
            apart.setdefault(row, set()).update(rows - {row})
    return apart


def _embeddings(kept: Kept, numbers: NDArray[np.int64], dimensions: int) -> NDArray[np.float32]:
    """(n, d) float32 of these records, copied piece by piece, since they may be much of the memory."""
    embeddings = np.empty((len(numbers), dimensions), np.float32)
    for begin in range(0, len(numbers), _ROWS_AT_ONCE):
        part = slice(begin, begin + _ROWS_AT_ONCE)
        embeddings[part] = kept.embeddings_of(numbers[part])
    return embeddings
