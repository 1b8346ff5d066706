"""Compares the whole of a collection's topic with what is stored and found, and puts back what is missing or different."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from contract.record_key import RecordKey
from gallery.store.store import Store
from runtime.progress import progress_line
from workers.audit.collection import Checked, ComparedCollection
from workers.audit.comparing import Finding
from workers.embedder.outcomes import Judged, feed_row, image_record

PIECE_RECORDS = 256
# What is on its way when it is first looked at has arrived by then.
SECOND_LOOK_S = 2.0


@dataclass
class TopicVerification:
    """What came of it.

    Attributes:
        compared: records of the topic.
        findings: what was not as it should be.
        repaired: those of them that were put back, or taken away.
    """

    compared: int = 0
    findings: list[Finding] = field(default_factory=list)
    repaired: list[Finding] = field(default_factory=list)


def confirmed(
    first: list[Finding], look_again: Callable[[], list[Finding]], pause: Callable[[float], object]
) -> list[Finding]:
    """The findings that a second look has too: what was on its way, or went away meanwhile, is none."""
    if not first:
        return []
    pause(SECOND_LOOK_S)
    again = {(each.kind, each.where, each.key) for each in look_again()}
    return [each for each in first if (each.kind, each.where, each.key) in again]


def verify_topic(
    compared: ComparedCollection,
    store: Store,
    *,
    fingerprint: str,
    repairs: bool,
    pause: Callable[[float], object] = time.sleep,
) -> TopicVerification:
    """Compare all that Kafka holds of a collection with feed, records, originals and index.

    Args:
        repairs: write anew what is missing or different, and delete what no record of the topic explains.

    Raises:
        DependencyError: Kafka, Cassandra or the decoder failed; run it again.
        TopicReplacedError: the topic was created again meanwhile.
    """
    result = TopicVerification()
    log, extents = compared.extents()
    with progress_line(
        "comparing with Kafka", sum(each.end - each.first for each in extents.values()), "offsets"
    ) as bar:
        for partition, extent in sorted(extents.items()):
            at = known = extent.first
            while at < extent.end:
                end = min(extent.end, at + PIECE_RECORDS)
                checked = compared.check(log, partition, at, end)
                start = at
                found = confirmed(
                    checked.findings,
                    lambda p=partition, s=start, e=checked.reached: compared.check(log, p, s, e).findings,  # type: ignore[misc]
                    pause,
                )
                result.findings += found
                result.compared += len(checked.judged)
                if repairs and found:
                    result.repaired += _repair(store, log, _reached(checked, known), found, fingerprint)
                if checked.judged:
                    known = checked.judged[-1].record.offset + 1
                bar.update(checked.reached - at)
                at = checked.reached
            found = confirmed(
                compared.check_beyond(log, partition),
                lambda p=partition: compared.check_beyond(log, p),  # type: ignore[misc]
                pause,
            )
            result.findings += found
            if repairs and found:
                result.repaired += _repair(store, log, [], found, fingerprint)
    return result


def _reached(checked: Checked, known: int) -> list[Judged]:
    """What became of a piece's records, the first of them reached from `known`, since nothing lies between."""
    if not checked.judged:
        return []
    first, *others = checked.judged
    return [first._replace(record=first.record._replace(after=known)), *others]


def _repair(store: Store, log: str, judged: list[Judged], findings: list[Finding], fingerprint: str) -> list[Finding]:
    """Write anew, or delete, what findings outside of the index say; returns those."""
    stored = [each for each in findings if each.where != "index"]
    wrong = {each.key.offset for each in stored if each.kind != "extra"}
    in_feed = {each.key.offset for each in stored if each.kind != "extra" and each.where == "feed"}
    anew = [each for each in judged if each.record.offset in wrong]
    images = [each for each in anew if each.decoded]
    now_ms = time.time_ns() // 1_000_000
    store.records.write_originals(
        (RecordKey(log, each.record.partition, each.record.offset), each.record.value or b"", now_ms)
        for each in images
        if image_record(log, each).original is None
    )
    if images:
        store.records.write([image_record(log, each) for each in images], time_ms=now_ms)
    rows = [feed_row(log, each) for each in anew if each.record.offset in in_feed]
    if rows:
        store.feed.write(rows, fingerprint=fingerprint, over_all=True)
    store.feed.remove((each.key for each in stored if each.kind == "extra"), fingerprint=fingerprint)
    return stored
