"""Follows the feed of one collection and tells its watches what matches: at least once, and nothing before their start.

What holds at any time, and after a restart at any line: of every record below `next_offset` of its partition, each watch that
was taken up (`told_from` is not None) has been told if it matches. So a match is published first and the progress stored
second; and a watch that is new is first told of what lies between its start and the progress, and then taken up.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import structlog
from numpy.typing import NDArray

from contract import telemetry
from contract.errors import NewerVersionError
from contract.origin import requests_told
from contract.record_key import RecordKey
from gallery.generations.unusable_rows import why_unusable
from gallery.store.feed import Feed
from gallery.store.rows import FeedRow
from gallery.store.watches import StoredWatch, Watches
from runtime.failpoints import failpoint
from runtime.planted import planted
from topics.matches import MatchSource, WatchMatch, match_id
from workers.watcher.followed import follow_told
from workers.watcher.matching import Matcher

_READ_ROWS_MAX = 512
_PUBLISHED_AT_ONCE = 1000
WATCHES_INTERVAL_S = 1.0
# A hole wider than a feed bucket is found by listing all buckets: seldom needed, so seldom asked.
_HOLES_INTERVAL_S = 5.0

logger = structlog.get_logger()
T = TypeVar("T")
# A log and one of its partitions.
_Place = tuple[str, int]


class Hit(NamedTuple):
    """A record that matched a watch."""

    watch: StoredWatch
    row: FeedRow
    distance: float


class Embedder(Protocol):
    """The encoder that answers."""

    fingerprint: str
    dimensions: int

    def embed(self, value: bytes) -> bytes | None:
        """An image's embedding as little-endian float32 bytes, None when it cannot be embedded."""


class Teller(Protocol):
    """Where matches are told."""

    def publish(self, matches: Sequence[WatchMatch]) -> list[int]:
        """Publish matches; returns the offset of each once all are durable."""

    def end_offset(self) -> int:
        """Behind the last match that was published."""


class Following:
    """One collection's watches and how far they were told.

    Args:
        partitions: of the collection's topic, beside those that its feed has.
        verdicts: what each hit's image is to the watch's image, None where that cannot be had.
        selects: of some rows, whether a watch's filter (JSON text) takes that of a number; asked only where there is a filter.
        clock: seconds that only go forward.
        now: seconds since 1970.
    """

    def __init__(
        self,
        *,
        topic: str,
        collection: str,
        partitions: int,
        feed: Feed,
        watches: Watches,
        teller: Teller,
        verdicts: Callable[[Sequence[Hit]], list[str | None]],
        selects: Callable[[Sequence[FeedRow]], Callable[[str, int], bool]],
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._topic, self._collection, self._partitions = topic, collection, partitions
        self._feed, self._table, self._teller = feed, watches, teller
        self._verdicts, self._selects = verdicts, selects
        self._clock, self._now = clock, now
        self._looked = self._holes_looked_for = float("-inf")
        self._watches: dict[str, StoredWatch] = {}
        self._matcher: Matcher | None = None
        self._embedder: Embedder | None = None
        # None until it was read from the store; only then may anything be told.
        self._next: dict[_Place, int] | None = None

    @property
    def watches(self) -> dict[str, StoredWatch]:
        """Those that were taken up, by id."""
        return self._watches

    def step(self, embedder: Embedder) -> bool:
        """Tell of what is new; False when there was nothing.

        Args:
            embedder: that answers now; another one than before embeds the watches anew.

        Raises:
            DependencyError: nothing was lost, step again.
        """
        if embedder is not self._embedder:
            self._embedder, self._watches, self._looked = embedder, {}, float("-inf")
        if self._clock() - self._looked >= WATCHES_INTERVAL_S:
            self._look(embedder)
            self._looked = self._clock()
        if not self._watches or self._matcher is None:
            return False
        assert self._next is not None
        past_holes = self._clock() - self._holes_looked_for > _HOLES_INTERVAL_S
        if past_holes:
            self._holes_looked_for = self._clock()
        advanced, newer = False, None
        for place, next_offset in list(self._next.items()):
            key = RecordKey(*place, next_offset)
            try:
                rows = self._feed.read(key, _READ_ROWS_MAX, fingerprint=embedder.fingerprint, past_holes=past_holes)
            except NewerVersionError as error:  # its partition waits there, the others go on
                newer = error
                continue
            rows = list(_contiguous(rows, next_offset))
            if not rows:
                continue
            if planted("watcher-notes-first"):
                self._table.note_progress(self._topic, {place: rows[-1].key.offset + 1})
                self._next[place] = rows[-1].key.offset + 1
            self._tell(self._matcher, rows)
            failpoint("watcher-after-publish")
            # Stored before it counts: a failure in between repeats the rows, and leaves none out.
            self._table.note_progress(self._topic, {place: rows[-1].key.offset + 1})
            failpoint("watcher-after-progress")
            self._next[place] = rows[-1].key.offset + 1
            advanced = True
        if newer is not None and not advanced:
            raise newer
        return advanced

    def _look(self, embedder: Embedder) -> None:
        """Forget watches that were deleted, take up new ones, and see which partitions there are."""
        ids = self._table.ids(self._topic)
        found = [self._embedded(watch, embedder) for watch in self._table.read(self._topic, ids - self._watches.keys())]
        usable = [watch for watch in found if watch is not None]
        kept = {watch_id: watch for watch_id, watch in self._watches.items() if watch_id in ids}
        has_changed = len(kept) != len(self._watches)
        if self._next is None:
            self._next = {}
        joined = kept | {watch.id: watch for watch in usable if watch.told_from is not None}
        fresh = [watch for watch in usable if watch.told_from is None]
        # Of those that begin now, where none was before, the first says where to begin.
        self._follow(joined.values() or fresh, embedder.fingerprint)
        if fresh:
            joined |= {watch.id: watch for watch in self._take_up(fresh, embedder)}
        if has_changed or joined.keys() != self._watches.keys():
            self._matcher = Matcher(list(joined.values()), embedder.dimensions)
        self._watches = joined

    def _follow(self, watches: Iterable[StoredWatch], fingerprint: str) -> None:
        """Follow the partitions in which a record may count for one of these watches, from the first that may."""
        assert self._next is not None
        watches = list(watches)
        if not watches:
            return
        stored = self._table.progress(self._topic)
        for log in self._feed.logs(self._topic):
            for partition in {*range(self._partitions), *self._feed.partitions(log, fingerprint=fingerprint)}:
                firsts = [first for watch in watches if (first := watch.start.in_partition(log, partition)) is not None]
                if firsts:
                    place = log, partition
                    known = max(stored.get(place, 0), self._next.get(place, 0))
                    self._next[place] = max(known, min(firsts))

    def _take_up(self, fresh: list[StoredWatch], embedder: Embedder) -> list[StoredWatch]:
        """Tell new watches of what was passed since their start; returns those for which nothing is missing any more."""
        assert self._next is not None
        told_from = self._teller.end_offset()
        matcher = Matcher(fresh, embedder.dimensions)
        for place, end in self._next.items():
            firsts = [first for watch in fresh if (first := watch.start.in_partition(*place)) is not None]
            if not firsts or min(firsts) >= end:
                continue
            at = min(firsts)
            rows = self._feed.walk(RecordKey(*place, at), fingerprint=embedder.fingerprint, end_offset=end)
            for part in _parts(_contiguous(rows, at), _READ_ROWS_MAX):
                self._tell(matcher, part)
                at = part[-1].key.offset + 1
            if at < end and not self._is_empty_until(place, at, end, embedder.fingerprint):
                return []  # The feed of this encoder is not there yet: once more at the next look.
        failpoint("watcher-before-take-up")
        self._table.tell_from(self._topic, {watch.id: told_from for watch in fresh})
        failpoint("watcher-after-take-up")
        logger.info("watches taken up", collection=self._collection, watches=len(fresh))
        return [replace(watch, told_from=told_from) for watch in fresh]

    def _is_empty_until(self, place: _Place, at: int, end: int, fingerprint: str) -> bool:
        """Whether the row at or behind `end` proves that no record lies between."""
        behind = self._feed.read(RecordKey(*place, at), 1, fingerprint=fingerprint, past_holes=True)
        return bool(behind) and behind[0].key.offset >= end and behind[0].after <= at

    def _embedded(self, watch: StoredWatch, embedder: Embedder) -> StoredWatch | None:
        """The watch with an embedding of the encoder that answers; None when there is none to be had."""
        if watch.encoder == embedder.fingerprint:
            return watch
        if watch.image is None:
            return None
        embedding = embedder.embed(self._table.read_image(watch.id))
        if embedding is None:
            return None
        anew = replace(watch, embedding=embedding, encoder=embedder.fingerprint)
        self._table.embed(anew)
        return anew

    def _tell(self, matcher: Matcher, rows: Sequence[FeedRow]) -> None:
        """Publish what matches among these rows."""
        assert self._embedder is not None
        if planted("watcher-skips-the-last"):
            rows = rows[:-1]
        puts = [row for row in rows if row.outcome == "put" and not why_unusable(row, self._embedder.dimensions)]
        if not puts:
            return
        began_ns = time.time_ns()
        embeddings = np.frombuffer(b"".join(row.embedding or b"" for row in puts), "<f4")
        hits = self._hits(matcher, puts, embeddings.reshape(len(puts), -1))
        for part in _parts(hits, _PUBLISHED_AT_ONCE):
            if planted("watcher-tells-twice"):
                part *= 2
            verdicts = self._verdicts(part)
            now_ms = int(self._now() * 1000)
            self._teller.publish(
                [self._match(hit, verdict, now_ms) for hit, verdict in zip(part, verdicts, strict=True)]
            )
            telemetry.WATCH_MATCHES.inc(len(part))
            told = [hit.row for hit in part]
            follow_told(told, self._embedder.fingerprint, collection=self._collection, began_ns=began_ns)
            requests = requests_told(row.origin for row in told)
            logger.info("matches told", collection=self._collection, matches=len(part), **requests)

    def _hits(self, matcher: Matcher, rows: Sequence[FeedRow], embeddings: NDArray[np.float32]) -> Iterator[Hit]:
        selects = self._selects(rows)
        for near in matcher.near(embeddings):
            watch, row = matcher.watches[near.watch], rows[near.row]
            start = watch.start.in_partition(row.key.log, row.key.partition)
            if start is None or row.key.offset < start:
                continue
            if not watch.filter or selects(watch.filter, near.row):
                yield Hit(watch, row, near.distance)

    def _match(self, hit: Hit, verdict: str | None, now_ms: int) -> WatchMatch:
        watch, row = hit.watch, hit.row
        return WatchMatch(
            id=match_id(watch.id, row.key),
            watch=watch.id,
            name=watch.name,
            collection=self._collection,
            image=row.image_id,
            distance=hit.distance,
            source=MatchSource(*row.key, row.kafka_time_ms),
            verdict=verdict,
            created_at=now_ms,
        )


def _contiguous(rows: Iterable[FeedRow], next_offset: int) -> Iterator[FeedRow]:
    """The rows that follow on `next_offset`, up to a gap whose rows are still being written."""
    for row in rows:
        if row.key.offset < next_offset:
            continue
        if row.after > next_offset:
            return
        yield row
        next_offset = row.key.offset + 1


def _parts(many: Iterable[T], size: int) -> Iterator[list[T]]:
    part: list[T] = []
    for each in many:
        part.append(each)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
