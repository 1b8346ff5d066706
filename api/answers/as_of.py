"""`as_of`: what an answer is made of when it is asked as of an earlier time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api.answers.problems import ProblemError
from gallery.generations.history import AsOf, HistoryGoneError
from gallery.generations.manifest import Manifest
from gallery.generations.selection import Selection
from gallery.generations.snapshot import Snapshot
from topics.offsets import EndOffsets

_OFFSETS = re.compile(r"[0-9]{1,9}:[0-9]{1,18}(,[0-9]{1,9}:[0-9]{1,18})*")
# RFC 3339. An address has a space where somebody wrote a plus and did not escape it.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,9})?([Zz]|[ +-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class AskedAsOf:
    """An earlier time, and how it was asked for."""

    text: str
    as_of: AsOf


@dataclass(frozen=True)
class Past:
    """What ids meant at an earlier time, in one generation.

    Attributes:
        asked: as it was asked for.
        snapshot: the generation.
        offsets: by partition, the offset behind the last record that counts.
    """

    asked: str
    snapshot: Snapshot
    selection: Selection
    offsets: Mapping[str, int]


def read_as_of(text: str, *, now_ms: int) -> AskedAsOf:
    """Offsets of partitions, or a time that has come.

    Raises:
        ProblemError: 400 ``bad-as-of``, ``as-of-future``.
    """
    if _OFFSETS.fullmatch(text):
        offsets: dict[int, int] = {}
        for pair in text.split(","):
            partition, offset = map(int, pair.split(":"))
            if offsets.setdefault(partition, offset) != offset:
                raise _bad_as_of(f"as_of names partition {partition} with two offsets")
        return AskedAsOf(text, AsOf(offsets=tuple(sorted(offsets.items()))))
    time_ms = _time_ms(text)
    if time_ms > now_ms:
        raise ProblemError(
            400, "as-of-future", f"as_of is {text}, and now it is {rfc3339(now_ms)}. Ask for a time that has come."
        )
    return AskedAsOf(text, AsOf(time_ms=time_ms))


def past_of(snapshot: Snapshot, asked: AskedAsOf) -> Past:
    """What ids meant then.

    Raises:
        ProblemError: 410 ``as-of-gone`` with the oldest that can be asked for.
    """
    try:
        selection = snapshot.select(asked.as_of)
    except HistoryGoneError as error:
        raise _gone(asked.text, error) from error
    covered = snapshot.manifest.offsets
    if asked.as_of.time_ms is None:
        wanted = dict(asked.as_of.offsets)
        return Past(
            asked.text, snapshot, selection, {partition: wanted.get(int(partition), 0) for partition in covered}
        )
    later = selection.later
    return Past(asked.text, snapshot, selection, {p: later.get(int(p), offset) for p, offset in covered.items()})


def has_come_to(manifest: Manifest, ends: EndOffsets | None, as_of: AsOf) -> bool:
    """Whether a generation covers every record that counts, and none can come any more.

    Args:
        ends: where Kafka's partitions end. A partition whose last record is older than the time asked for must be covered
            to its end, and Kafka must have been asked for it after that time.
    """
    if not manifest.logs or (ends is not None and ends.log != manifest.log):
        return False  # a topic that was created anew: the index does not have its log yet
    partitions = manifest.logs[-1].partitions
    if as_of.time_ms is None:
        covered = manifest.offsets
        return all(covered.get(str(partition), 0) >= offset for partition, offset in as_of.offsets)
    reached = dict.fromkeys(ends.offsets if ends else (), (0, -1)) | {
        int(partition): (found.next_offset, found.effective_ms) for partition, found in partitions.items()
    }
    return all(
        effective_ms > as_of.time_ms
        or (ends is not None and ends.asked_at_ms >= as_of.time_ms and next_offset >= ends.offsets.get(partition, 0))
        for partition, (next_offset, effective_ms) in reached.items()
    )


def rfc3339(time_ms: int) -> str:
    """A time as `read_as_of` takes it."""
    return (_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time_ms(text: str) -> int:
    found = _TIME.fullmatch(text)
    if not found:
        raise _bad_as_of(f"as_of is {text[:100]!r}")
    date, time, fraction, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone.replace(" ", "+")
    try:
        whole = datetime.fromisoformat(f"{date}T{time}{zone}") - _EPOCH
    except ValueError as error:
        raise _bad_as_of(f"as_of is {text!r}: {error}") from error
    return whole // timedelta(milliseconds=1) + int((fraction or ".")[1:4].ljust(3, "0"))


def _bad_as_of(what: str) -> ProblemError:
    return ProblemError(
        400,
        "bad-as-of",
        f"{what}. Expected offsets of the topic's partitions, such as 0:1240,1:1198, or a time as RFC 3339 writes it, such as "
        "2026-01-31T12:00:00Z.",
    )


def _gone(asked: str, error: HistoryGoneError) -> ProblemError:
    offsets = {str(partition): offset for partition, offset in error.offsets.items()}
    oldest = {"offsets": offsets, "time": rfc3339(error.time_ms)}
    listed = ",".join(f"{partition}:{offset}" for partition, offset in offsets.items())
    return ProblemError(
        410,
        "as-of-gone",
        f"as_of={asked} is earlier than what is kept of images that were replaced or deleted. The oldest that can be asked "
        f"for is as_of={oldest['time']}"
        + (f", or as_of={listed}." if listed else ".")
        + " LOOKALIKE_HISTORY_HOURS says how long the indexer keeps them.",
        oldest=oldest,
    )


def as_of_not_kept() -> ProblemError:
    """400: the engine that answers keeps nothing of earlier times."""
    return ProblemError(
        400,
        "as-of-not-kept",
        "This collection's engine, cassandra, keeps nothing of earlier times. Ask without as_of, or see an image's history.",
    )
