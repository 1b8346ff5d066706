"""python -m workers embedder --from-store: fills the encoder's feed from stored originals where Kafka holds them no longer.

Images come from what is stored of them; deletes and rejects, which leave no original, from the feeds of other encoders.
Only rows that are missing are written, so it may be interrupted and run again.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import structlog

from contract.collections import DEFAULT_COLLECTION, settings_of
from contract.errors import ConfigurationError
from contract.origin import UNKNOWN_ORIGIN, Origin
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.collections import find_collection
from gallery.generations.fold import EXPIRED
from gallery.generations.unusable_rows import why_unusable
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow, ImageRecord
from gallery.store.store import Store
from model.encoder import load_encoder
from model.pictures.decoder import Decoded
from model.pictures.decoders import Decoders
from runtime.progress import progress_line
from topics.topic import Topic
from workers.embedder.opening import open_decoders

_BATCH_IMAGES_MAX = 256
_BATCH_BYTES_MAX = 16 * 1024 * 1024

logger = structlog.get_logger()


class Missing(NamedTuple):
    """A feed row that the encoder's feed lacks.

    Attributes:
        after: end of what is known before it.
        is_expired: whether something may have been in [after, offset) that nobody knows any more.
        row: a delete's or reject's row under another encoder; None for an image.
        origin: what its row under another encoder says of it; a delete's or reject's row has it itself.
    """

    key: RecordKey
    after: int
    is_expired: bool
    row: FeedRow | None
    origin: Origin = UNKNOWN_ORIGIN


def run(settings: Settings, collection: str = DEFAULT_COLLECTION) -> int:
    """Write the missing feed rows of a collection; returns the exit status.

    Raises:
        UnknownCollectionError: there is no such collection.
        DependencyError: Cassandra or Kafka did not answer; run it again, it goes on.
    """
    store = Store.connect(settings)
    try:
        _restore(settings_of(settings, find_collection(settings, store.registry, collection)), store)
    finally:
        store.close()
    return 0


def _restore(settings: Settings, store: Store) -> None:
    fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
    current, begins = _kafka_begins(settings)
    decoders = open_decoders(settings)
    try:
        for log in store.feed.logs(settings.kafka_topic):
            begins_here = begins if log == current else None
            written = _restore_log(store, decoders, log, begins_here, fingerprint=fingerprint)
            logger.info("restored", log=log, encoder=fingerprint, rows=written)
    finally:
        decoders.close()


def _kafka_begins(settings: Settings) -> tuple[str, dict[int, int]]:
    """The topic's log now, and each partition's first offset that Kafka still holds: the embedder reads from there on."""
    topic = Topic(settings)
    try:
        return topic.check(), topic.first_offsets()
    except ConfigurationError:
        return "", {}  # There is no topic any more, so all that is left of it is stored.
    finally:
        topic.close()


def _restore_log(store: Store, decoders: Decoders, log: str, begins: dict[int, int] | None, *, fingerprint: str) -> int:
    """Write a log's missing rows below `begins`, or all of them without; returns how many."""
    others = store.feed.fingerprints(log) - {fingerprint}
    images: dict[int, list[int]] = {}
    for key in store.records.keys(log):
        images.setdefault(key.partition, []).append(key.offset)
    partitions = set(images).union(*(store.feed.partitions(log, fingerprint=other) for other in others))
    written = 0
    for partition in sorted(partitions):
        end = None if begins is None else begins.get(partition, 0)
        missing = [
            found
            for found in _missing(
                store.feed, log, partition, images.get(partition, []), fingerprint=fingerprint, others=others
            )
            if end is None or found.key.offset < end
        ]
        with progress_line(f"{log} partition {partition}", len(missing)) as progress:
            for rows in _rows(store, decoders, missing):
                store.feed.write(rows, fingerprint=fingerprint)
                progress.update(len(rows))
                written += len(rows)
    return written


def _missing(
    feed: Feed, log: str, partition: int, images: list[int], *, fingerprint: str, others: set[str]
) -> Iterator[Missing]:
    """What the encoder's feed lacks, in offset order, as far as anything is known of it."""
    start = RecordKey(log, partition, 0)
    present = {row.key.offset for row in feed.walk(start, fingerprint=fingerprint)}
    known = {
        row.key.offset: replace(row, embedding=None)
        for other in sorted(others)
        for row in feed.walk(start, fingerprint=other)
    }
    withdrawn = {
        offset: row
        for offset, row in known.items()
        if row.outcome in ("delete", "reject", "gap") and not why_unusable(row, 0)
    }
    reached = 0
    for offset in sorted(present.union(withdrawn, images)):
        if offset not in present:
            row = known.get(offset)
            is_proven = row is not None and row.after <= reached and EXPIRED not in row.reason.split()
            is_expired = offset > reached and not is_proven
            origin = UNKNOWN_ORIGIN if row is None else row.origin
            yield Missing(RecordKey(log, partition, offset), reached, is_expired, withdrawn.get(offset), origin)
        reached = offset + 1


def _rows(store: Store, decoders: Decoders, missing: list[Missing]) -> Iterator[list[FeedRow]]:
    """The missing rows in batches, embedded anew."""
    with ThreadPoolExecutor(8, thread_name_prefix="originals") as pool:
        for start in range(0, len(missing), _BATCH_IMAGES_MAX):
            batch = missing[start : start + _BATCH_IMAGES_MAX]
            details = store.records.read([found.key for found in batch if found.row is None])
            for part in _parts(batch, details):
                keys = [found.key for found in part if found.row is None]
                values = [value or b"" for value in pool.map(store.records.read_original, keys)]
                images = dict(zip(keys, decoders.decode(values).images, strict=True))
                yield [
                    _embedded(found, details[found.key], images[found.key])
                    if found.row is None
                    else replace(
                        found.row, after=found.after, reason=_reason(found.row.reason, found.is_expired), metadata=""
                    )
                    for found in part
                ]


def _embedded(found: Missing, details: ImageRecord, decoded: Decoded) -> FeedRow:
    if decoded.reason:
        logger.error("stored original refused", key=found.key, reason=decoded.reason)
    return FeedRow(
        found.key,
        after=found.after,
        outcome="reject" if decoded.reason else "put",
        reason=_reason(decoded.reason, found.is_expired),
        image_id=details.image_id,
        embedding=None if decoded.reason else decoded.embedding,
        kafka_time_ms=details.kafka_time_ms,
        metadata="" if decoded.reason else details.metadata,
        origin=found.origin,
    )


def _reason(reason: str, is_expired: bool) -> str:
    return " ".join([*(word for word in reason.split() if word != EXPIRED), *([EXPIRED] if is_expired else [])])


def _parts(batch: list[Missing], details: dict[RecordKey, ImageRecord]) -> Iterator[list[Missing]]:
    """Cut a batch so that its originals stay below 16 MiB, or are a single one."""
    part: list[Missing] = []
    size = 0
    for found in batch:
        found_size = details[found.key].size_bytes if found.key in details else 0
        if part and size + found_size > _BATCH_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(found)
        size += found_size
    if part:
        yield part
