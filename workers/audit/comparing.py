"""Compares what records of the topic say with what is stored of them, and with what the index holds."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from contract.record_key import RecordKey
from gallery.generations.fold import EXPIRED
from gallery.generations.snapshot import Snapshot
from gallery.store.feed import Feed
from gallery.store.records import Records
from gallery.store.rows import FeedRow, ImageRecord
from workers.embedder.outcomes import Judged, feed_row, image_record

FoundIn = Literal["feed", "records", "originals", "index"]
FindingKind = Literal["missing", "extra", "different"]

# Of an embedding's length: another machine's arithmetic moves it by a millionth, another picture by far more.
EMBEDDING_TOLERANCE = 1e-3
# What a decoder's limits, or a setting, said of an image may be otherwise on another day.
_BY_CHANCE = ("decoder-", "truncated")


@dataclass(frozen=True)
class Finding:
    """One difference.

    Attributes:
        kind: ``missing`` where the topic has a record that is not there, ``extra`` where there is what no record says.
        where: it was found.
        key: of the record that it belongs to.
    """

    kind: FindingKind
    where: FoundIn
    key: RecordKey
    image_id: str
    detail: str

    def __str__(self) -> str:
        log, partition, offset = self.key
        return f"{log} {partition}:{offset} {self.image_id[:300]!r}: {self.kind} in {self.where}: {self.detail}"


def compare_feed(
    log: str, judged: Iterable[Judged], rows: Mapping[int, FeedRow], extra: Iterable[int]
) -> list[Finding]:
    """Where the feed says something else than the records.

    Args:
        rows: of the feed, by offset.
        extra: offsets of rows at which Kafka has no record, although it would hold it.
    """
    found = []
    for each in judged:
        wanted = feed_row(log, each)
        row = rows.get(each.record.offset)
        if row is None:
            found.append(
                Finding("missing", "feed", wanted.key, each.image_id, f"there is no row for this {each.outcome}.")
            )
        elif difference := _row_difference(each, wanted, row):
            found.append(Finding("different", "feed", wanted.key, each.image_id, difference))
    for offset in extra:
        row = rows[offset]
        found.append(
            Finding("extra", "feed", row.key, row.image_id, f"a {row.outcome} that no record of the topic is.")
        )
    return found


def compare_records(log: str, judged: Sequence[Judged], records: Records) -> list[Finding]:
    """Where what is stored of images, and their bytes, is not what the records say. Reads every original."""
    puts = {RecordKey(log, each.record.partition, each.record.offset): each for each in judged if each.decoded}
    stored = records.read(list(puts))
    found = []
    for key, original in records.read_originals(list(puts)):
        each, row, value = puts[key], stored.get(key), puts[key].record.value or b""
        if row is None:
            found.append(Finding("missing", "records", key, each.image_id, "there is no row for this image."))
            continue
        if names := _other_fields(image_record(log, each), row):
            found.append(Finding("different", "records", key, each.image_id, f"other {', '.join(names)}."))
        if original != value:
            kind: FindingKind = "different" if original else "missing"
            found.append(
                Finding(kind, "originals", key, each.image_id, f"{len(original or b'')} of {len(value)} bytes.")
            )
    return found


class ComparedIndex:
    """Compares stretches of one partition with a generation.

    Args:
        feed: tells whether an id that is not there was deleted later.
    """

    def __init__(self, snapshot: Snapshot, log: str, feed: Feed) -> None:
        self._snapshot, self._log, self._feed = snapshot, log, feed
        self._logs = [coverage.log for coverage in snapshot.manifest.logs]
        self._kept = snapshot.kept()

    def covered(self, partition: int) -> int:
        """The first offset of a partition that the generation does not cover."""
        for coverage in self._snapshot.manifest.logs:
            if coverage.log == self._log and str(partition) in coverage.partitions:
                return coverage.partitions[str(partition)].next_offset
        return 0

    def compare(
        self, partition: int, start: int, end: int | None, judged: Iterable[Judged], unsure: Container[int] = ()
    ) -> list[Finding]:
        """Where the index says something else than the records from `start` on, below `end`, all of which it covers.

        Args:
            unsure: offsets of records of which nothing is expected.
        """
        known = {each.record.offset: each for each in judged if each.record.offset not in unsure}
        found = [each for record in known.values() if (each := self._of_record(record)) is not None]
        for image_id, key in self._puts(partition, start, end):
            if key.offset in unsure:
                continue
            said = known.get(key.offset)
            if said is None or (said.outcome, said.image_id) != ("put", image_id):
                found.append(Finding("extra", "index", key, image_id, "an image that no record of the topic is."))
        return found

    def _of_record(self, judged: Judged) -> Finding | None:
        if judged.outcome not in ("put", "delete"):
            return None
        record, image_id = judged.record, judged.image_id
        key = RecordKey(self._log, record.partition, record.offset)
        held = self._snapshot.find(image_id)
        if judged.outcome == "delete":
            if held is None or not self._is_earlier(held.source, key):
                return None
            return Finding("extra", "index", key, image_id, f"deleted, and found as {held.source}.")
        if held is None:
            if self._is_withdrawn(image_id, key):
                return None
            return Finding("missing", "index", key, image_id, "published, not deleted later, and not found.")
        if self._is_earlier(held.source, key):
            return Finding("different", "index", key, image_id, f"found as the earlier {held.source}.")
        embedding = judged.decoded.embedding if judged.decoded else b""
        if held.source == key and not is_same_embedding(embedding, held.embedding.astype("<f4").tobytes()):
            return Finding("different", "index", key, image_id, "found with another embedding.")
        return None

    def _puts(self, partition: int, start: int, end: int | None) -> list[tuple[str, RecordKey]]:
        """Images that the generation keeps of records in [start, end)."""
        if self._log not in self._logs:
            return []
        positions = self._kept.positions
        of_log, _, of_partition, offsets, _ = positions.T
        chosen = (of_log == self._logs.index(self._log)) & (of_partition == partition) & (offsets >= start)
        if end is not None:
            chosen &= offsets < end
        numbers = np.flatnonzero(chosen & self._kept.is_put)
        keys = [RecordKey(self._log, partition, int(offset)) for offset in offsets[numbers]]
        return [(name.decode(), key) for name, key in zip(self._kept.image_ids(numbers), keys, strict=True)]

    def _is_earlier(self, source: RecordKey, key: RecordKey) -> bool:
        """Whether a record certainly comes before another one. Of two partitions' only the fold knows."""
        if source.log != key.log:
            return source.log in self._logs and self._logs.index(source.log) < self._logs.index(key.log)
        return source.partition == key.partition and source.offset < key.offset

    def _is_withdrawn(self, image_id: str, key: RecordKey) -> bool:
        """Whether the feed has a record of this id that may come after another one of it."""
        rows, is_whole = self._feed.of_image(image_id, key.log, fingerprint=self._snapshot.manifest.encoder)
        others = (row for row in rows if row.outcome in ("put", "delete") and row.key != key)
        return not is_whole or any(not self._is_earlier(row.key, key) for row in others)


def is_same_embedding(one: bytes, other: bytes | None) -> bool:
    """Whether two embeddings, as float32 bytes, are the same but for another machine's arithmetic."""
    if other is None or len(one) != len(other):
        return False
    first, second = np.frombuffer(one, "<f4").astype(np.float64), np.frombuffer(other, "<f4").astype(np.float64)
    return bool(np.linalg.norm(first - second) <= EMBEDDING_TOLERANCE * np.linalg.norm(first))


def is_by_chance(judged: Judged, row: FeedRow | None) -> bool:
    """Whether the same record may have had another outcome on another day: by a decoder's limits, or by a setting."""
    is_truncated = judged.decoded is not None and judged.decoded.is_truncated
    reasons = (judged.reason, "" if row is None else _reason(row))
    return is_truncated or any(reason.startswith(_BY_CHANCE) for reason in reasons)


def _reason(row: FeedRow) -> str:
    return " ".join(word for word in row.reason.split() if word != EXPIRED)


def _row_difference(judged: Judged, wanted: FeedRow, row: FeedRow) -> str:
    """What a row of the feed says otherwise than it should, "" if nothing."""
    said, reason = row.outcome, _reason(row)
    if is_by_chance(judged, row):
        return ""
    if (said, reason) != (wanted.outcome, judged.reason):
        return f"{said} {reason}".strip() + f", expected {wanted.outcome} {judged.reason}".rstrip() + "."
    if said == "put" and not is_same_embedding(wanted.embedding or b"", row.embedding):
        return "another embedding."
    other = [name for name in ("image_id", "kafka_time_ms") if getattr(row, name) != getattr(wanted, name)]
    if said == "put" and (row.metadata or "") != wanted.metadata:
        other.append("metadata")
    return f"other {', '.join(other)}." if other else ""


def _other_fields(wanted: ImageRecord, row: ImageRecord) -> list[str]:
    """Names of what differs, less what another version of the libraries makes otherwise."""
    names = {field.name for field in fields(ImageRecord)} - {"original", "thumbnail", "pixels_sha256"}
    return sorted(name for name in names if getattr(wanted, name) != getattr(row, name))
