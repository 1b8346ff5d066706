"""Judges a whole history: one pass over the journal, with all that Kafka holds at hand."""

import hashlib
import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

from tests.history.answers import PUT_OFF, AnswerJudge
from tests.history.held import Held, HeldRecord
from tests.history.journal import (
    CLOCK_SET,
    Coverage,
    End,
    Event,
    Fault,
    Fetch,
    Look,
    Outcome,
    Search,
    Send,
    Unwatch,
    Watch,
)
from tests.history.rules import Finding
from tests.history.told import WatchJudge
from tests.history.truth import Embedding, Place, Truth

_SERVERS = ("kafka", "cassandra")
_GENERATION_KEPT_S = 60.0  # after an answer from it, and longer
# After which parts' faults a rejection or a match may be there twice.
_REPEATING = (*_SERVERS, "embedder", "watcher")


@dataclass(frozen=True)
class Judgement:
    """What was found, and how much was looked at."""

    findings: list[Finding]
    records: int
    unknown: int
    answers: int
    unanswered: int
    matches: int
    told: int

    def __str__(self) -> str:
        return (
            f"{self.records} records ({self.unknown} of unknown outcome), {self.answers} answers with {self.matches} matches, "
            f"{self.unanswered} questions without answer, {self.told} told to watches: {len(self.findings)} findings"
        )


def judge(events: Sequence[Event], held: Held, embed: Callable[[bytes], Embedding]) -> Judgement:
    """Judge a history.

    Args:
        events: the journal.
        held: what Kafka holds, read after the journal's end.
        embed: the embedding (d,) float32 of an encoded image.
    """
    history = _History(events, held, embed)
    searches = [event for event in events if isinstance(event, Search)]
    return Judgement(
        findings=list(history.findings()),
        records=len(held.records),
        unknown=len(history.sends_by_number) - sum(each.state != "unknown" for each in history.outcomes.values()),
        answers=sum(search.status == 200 for search in searches),
        unanswered=sum(search.status in (0, 429, 503) for search in searches),
        matches=sum(len(search.matches) for search in searches),
        told=len(held.matches),
    )


class _History:
    def __init__(self, events: Sequence[Event], held: Held, embed: Callable[[bytes], Embedding]) -> None:
        self._events = events
        self._held = held
        self.sends_by_number = {event.n: event for event in events if isinstance(event, Send)}
        self.outcomes = {event.n: event for event in events if isinstance(event, Outcome)}
        self._wrong: list[Finding] = []
        self._kept_until_s: dict[tuple[str, int | None], float] = {}
        self._sends = self._matched()
        self._truth = Truth(held.records, self._sends, embed)
        self._faults = {event.part for event in events if isinstance(event, Fault)}
        self._is_clock_set = any(event.what == CLOCK_SET for event in events if isinstance(event, Fault))
        self._first_after = {
            partition: _first_after(
                [(send.began_s, offset) for (p, offset), send in self._sends.items() if p == partition]
            )
            for partition in {partition for partition, _ in self._sends}
        }

    def findings(self) -> Iterator[Finding]:
        yield from self._wrong
        yield from self._rejections()
        yield from self._observed()
        yield from self._watches()
        yield from self._end()

    def _matched(self) -> dict[Place, Send]:
        """Which send each record of the topic is; what does not fit is wrong."""
        confirmed = {
            (each.partition, each.offset): self.sends_by_number[each.n]
            for each in self.outcomes.values()
            if each.state == "confirmed"
        }
        records = {record[:2]: record for record in self._held.records}
        for place, send in confirmed.items():
            if place not in records:
                self._find("lost", send, place, "it was confirmed, and the topic does not hold it")
            elif _sha256(records[place]) != send.sha256:
                self._find("lost", send, place, "it was confirmed, and the topic holds another value there")
        open_sends: dict[tuple[str, str], list[Send]] = defaultdict(list)
        for send in self.sends_by_number.values():
            outcome = self.outcomes.get(send.n)
            if outcome is None or outcome.state == "unknown":
                open_sends[send.image_id, send.sha256].append(send)
        sends: dict[Place, Send] = {}
        used: Counter[int] = Counter()
        for place, record in records.items():
            found = confirmed.get(place) or self._by_header(record) or self._by_content(record, open_sends)
            if found is None:
                where = f"record {place[0]}:{place[1]}"
                self._wrong.append(Finding("never-sent", where, f"nobody sent it; its key is {record.key!r}."))
                continue
            used[found.n] += 1
            if used[found.n] > 1:
                self._find("twice", found, place, "it was sent once and is in the topic again")
            sends[place] = found
        return sends

    def _by_header(self, record: HeldRecord) -> Send | None:
        number = record.headers.get("sent", b"").decode()
        return self.sends_by_number.get(int(number)) if number.isdecimal() else None

    def _by_content(self, record: HeldRecord, open_sends: Mapping[tuple[str, str], list[Send]]) -> Send | None:
        key = b"" if record.key is None else record.key
        fitting = open_sends.get((key.decode("utf-8", "replace"), _sha256(record)))
        if not fitting:
            return None
        told = _canonical(json.loads(record.headers.get("metadata", b"{}")))
        return fitting.pop(next((n for n, send in enumerate(fitting) if _canonical(send.metadata) == told), 0))

    def _find(self, rule: str, send: Send, place: Place, what: str) -> None:
        where = f"record {place[0]}:{place[1]} (send {send.n} of {send.image_id!r})"
        self._wrong.append(Finding(rule, where, f"{what}."))

    def _rejections(self) -> Iterator[Finding]:
        bad = {place: send.reason for place, send in self._sends.items() if send.kind == "bad"}
        seen: set[Place] = set()
        for told in self._held.rejections:
            place, where = (told.partition, told.offset), f"rejected record {told.partition}:{told.offset}"
            if told.log != self._held.log or place not in bad:
                yield Finding("rejected", where, f"it is not bad, and was rejected as {told.reason}.")
            elif bad[place] != told.reason:
                yield Finding("rejected", where, f"it is {bad[place]}, and was rejected as {told.reason}.")
            elif place in seen and not self._faults.intersection(_REPEATING):
                yield Finding("rejected", where, "it was rejected twice.")
            seen.add(place)
        for partition, offset in bad.keys() - seen:
            reason = bad[partition, offset]
            yield Finding("rejected", f"record {partition}:{offset}", f"it is {reason}, and was not rejected.")

    def _observed(self) -> Iterator[Finding]:
        """Every answer and look, in the order in which they came."""
        answers = AnswerJudge(self._truth, self._sends, self._held.log)
        newest: dict[str, Coverage] = {}
        told: dict[tuple[str, object], object] = {}
        for event in self._events:
            if isinstance(event, Fetch):
                yield from answers.fetched(event)
            if not isinstance(event, Search | Look):
                continue
            where = f"answer {event.n} of {event.client}"
            if isinstance(event, Look):
                yield from self._counted(event, where)
            elif event.status == 200:
                yield from answers.findings(event)
            else:
                yield from self._refusal(event, newest.get(event.client), where)
            coverage = event.coverage
            if coverage is None or coverage.log != self._held.log or _is_of_then(event):
                continue
            self._kept_until_s[event.client, coverage.generation] = event.began_s + _GENERATION_KEPT_S
            yield from self._is_ahead(coverage, event.ended_s, where)
            for rule, meant, says in coverage.facts():
                if (known := told.setdefault((rule, meant), says)) != says:
                    yield Finding(rule, where, f"it tells {says}, an earlier answer told {known}.")
            if isinstance(event, Look) or event.generation is None:
                yield from _is_backwards(newest.get(event.client, coverage), coverage, where)
                newest[event.client] = coverage

    def _refusal(self, search: Search, newest: Coverage | None, where: str) -> Iterator[Finding]:
        coverage, kept_until_s = search.coverage, self._kept_until_s.get((search.client, search.generation), inf)
        if search.status == 412 and coverage is not None and search.as_of is None:
            if all(coverage.offsets.get(p, 0) >= offset for p, offset in search.min_offsets.items()):
                yield Finding("too-early", where, f"it was refused although it covers {search.min_offsets}.")
        elif search.status == 404 and search.code == "unknown-image":
            image_id = search.query.image_id or ""
            is_of_newest = search.as_of is None and search.generation in (None, newest and newest.generation)
            if newest is not None and is_of_newest and self._is_there_for_good(image_id, newest):
                yield Finding("missing", where, f"{image_id!r} is not known, and {newest.offsets} hold it.")
        elif search.code == "as-of-future" and self._is_clock_set:
            return  # by the clock of that API the time has not come
        elif search.code == "generation-gone" and search.ended_s > kept_until_s:
            return
        elif search.status not in (0, *PUT_OFF):
            yield Finding("refused", where, f"it was refused with {search.status} {search.code}.")

    def _is_there_for_good(self, image_id: str, coverage: Coverage) -> bool:
        numbers = self._truth.of_id.get(image_id, [])
        is_all = all(
            said.offset < coverage.offsets.get(str(said.partition), 0)
            for said in (self._truth.said[number] for number in numbers)
        )
        return is_all and bool(set(numbers).intersection(self._truth.below(coverage.offsets).tolist()))

    def _counted(self, look: Look, where: str) -> Iterator[Finding]:
        ends = look.coverage.offsets
        bad = Counter(
            send.reason
            for (partition, offset), send in self._sends.items()
            if send.kind == "bad" and offset < ends.get(str(partition), 0)
        )
        if dict(bad) != look.rejected:
            yield Finding("rejected", where, f"{dict(bad)} are bad below {ends}, counted are {look.rejected}.")
        if (count := len(self._truth.below(ends))) != look.coverage.count:
            yield Finding(
                "count", where, f"count is {look.coverage.count}, the records below {ends} hold {count} images."
            )

    def _is_ahead(self, coverage: Coverage, at_s: float, where: str) -> Iterator[Finding]:
        for partition, (began, first) in self._first_after.items():
            later = bisect_right(began, at_s)
            end = coverage.offsets.get(str(partition), 0)
            if later < len(began) and first[later] < end:
                what = f"it covers partition {partition} up to {end}, but {partition}:{first[later]} was sent after it."
                yield Finding("ahead", where, what)

    def _watches(self) -> Iterator[Finding]:
        told = WatchJudge(
            self._truth,
            self._sends,
            self.outcomes,
            self._held.matches,
            self._held.log,
            may_repeat=bool(self._faults.intersection(_REPEATING)),
            gone_s=[each.at_s for each in self._events if isinstance(each, Fault) and each.part in _SERVERS],
        )
        deleted = {event.id: event for event in self._events if isinstance(event, Unwatch)}
        for event in self._events:
            if isinstance(event, Watch):
                yield from told.findings(event, deleted.get(event.id))

    def _end(self) -> Iterator[Finding]:
        """Everything that is in the topic is covered in the end."""
        last = next((event.look for event in reversed(self._events) if isinstance(event, End)), None)
        if last is None:
            yield Finding("lost", "the end", "the history has no end, so it is not known what came of it.")
            return
        for (partition, offset), send in self._sends.items():
            if offset >= last.coverage.offsets.get(str(partition), 0):
                place = f"record {partition}:{offset} (send {send.n} of {send.image_id!r})"
                yield Finding("lost", place, f"in the end the index covers {last.coverage.offsets}, without it.")
                return


def _is_of_then(event: Search | Look) -> bool:
    """Whether coverage is that of an earlier time, with its offsets and its count."""
    return isinstance(event, Search) and event.as_of is not None and event.status == 200


def _is_backwards(before: Coverage, now: Coverage, where: str) -> Iterator[Finding]:
    if any(now.offsets.get(partition, 0) < offset for partition, offset in before.offsets.items()):
        yield Finding("backwards", where, f"it covers {now.offsets}, the same client's answer before {before.offsets}.")
    elif now.index_id == before.index_id and now.generation < before.generation:
        yield Finding(
            "backwards", where, f"it is of generation {now.generation}, the one before of {before.generation}."
        )


def _first_after(sent: list[tuple[float, int]]) -> tuple[list[float], list[int]]:
    """When records were sent, ascending, and for each the lowest offset of those that were not sent before it."""
    sent.sort()
    lowest = list(accumulate((offset for _, offset in reversed(sent)), min))
    return [began_s for began_s, _ in sent], lowest[::-1]


def _canonical(metadata: object) -> str:
    """One text of what is the same JSON, in which 1 is not true."""
    return json.dumps(metadata, sort_keys=True)


def _sha256(record: HeldRecord) -> str:
    return "" if record.value is None else hashlib.sha256(record.value).hexdigest()
