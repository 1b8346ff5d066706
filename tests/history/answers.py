"""Whether one answer is what brute force says over exactly what its coverage names."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.history.journal import Coverage, Fetch, Match, Search, Send
from tests.history.rules import Finding
from tests.history.truth import Embedding, Place, Truth, time_ms_of

# Sums of up to 512 squares in float64, whatever the order of additions, differ by less; float32 differs by some 1e-7.
ROUNDING = 1e-12
# What may be asked again.
PUT_OFF = (412, 429, 503)


class AnswerJudge:
    """Judges answers one by one.

    Args:
        sends: what every record of the topic was sent as.
        log: of the collection that is asked.
    """

    def __init__(self, truth: Truth, sends: Mapping[Place, Send], log: str) -> None:
        self._truth = truth
        self._sends = sends
        self._log = log

    def findings(self, search: Search) -> Iterator[Finding]:
        """What is wrong with an answer of status 200."""
        coverage = search.coverage
        where = f"answer {search.n} of {search.client}"
        assert coverage is not None, where
        if coverage.log not in (self._log, ""):  # without a log it covers nothing
            yield Finding("other-log", where, f"it is of {coverage.log}, asked was {self._log}.")
            return
        yield from self._asked_for(search, coverage, where)
        meant = self._meant(search, coverage)
        if len(meant) != coverage.count:
            yield Finding("count", where, f"count is {coverage.count}, {_named(coverage)} hold {len(meant)} images.")
        among = self._truth.held_for(meant, search.filter)
        if search.filter is not None and coverage.matched != len(among):
            yield Finding("count", where, f"matched is {coverage.matched}, the filter holds for {len(among)} images.")
        query = self._truth.query(search.query, meant)
        if query is None:
            yield Finding("deleted", where, f"{search.query.image_id!r} was searched for, and is not there.")
            return
        wrong = list(self._matches(search, coverage, meant, set(among.tolist()), query, where))
        yield from wrong or self._order(search, coverage, among, query, where)

    def fetched(self, fetch: Fetch) -> Iterator[Finding]:
        """What is wrong with the original of a match."""
        place = fetch.partition, fetch.offset
        where = f"original {fetch.n} of {fetch.client}, {fetch.image_id!r} ({place[0]}:{place[1]})"
        numbers, number = self._truth.of_id.get(fetch.image_id, []), self._truth.places.get(place, -1)
        later = [self._truth.said[each] for each in numbers if each > number]
        may_be_gone = any(self._sends[said.partition, said.offset].began_s < fetch.ended_s for said in later)
        if fetch.status == 200 and fetch.sha256 != self._sends[place].sha256:
            yield Finding("original", where, f"its SHA-256 is {fetch.sha256}, sent was {self._sends[place].sha256}.")
        elif fetch.status == 404 and not may_be_gone:
            yield Finding("original", where, "it is not there, and nothing replaced or deleted it.")
        elif fetch.status not in (0, 200, 404, *PUT_OFF):
            yield Finding("refused", where, f"it was refused with {fetch.status} {fetch.code}.")

    def _meant(self, search: Search, coverage: Coverage) -> NDArray[np.int64]:
        if search.as_of is not None and ":" in search.as_of and "T" in search.as_of:
            return self._truth.at_time(search.as_of)
        return self._truth.below(coverage.offsets)

    def _asked_for(self, search: Search, coverage: Coverage, where: str) -> Iterator[Finding]:
        if search.generation is not None and search.generation != coverage.generation:
            yield Finding(
                "too-early", where, f"generation {search.generation} was asked for, it is of {coverage.generation}."
            )
        behind = {p: offset for p, offset in search.min_offsets.items() if coverage.offsets.get(p, 0) < offset}
        if behind and search.as_of is None:
            yield Finding("too-early", where, f"min_offsets asked for {behind}, it covers {coverage.offsets}.")
        if search.as_of is None:
            return
        if "T" in search.as_of:
            wrong = [
                place
                for place, is_in in self._truth.included(search.as_of).items()
                if is_in != (place[1] < coverage.offsets.get(str(place[0]), 0))
            ]
            if wrong:
                shown = f"{wrong[0][0]}:{wrong[0][1]}"
                yield Finding(
                    "too-early", where, f"as_of {search.as_of}, but offsets {coverage.offsets} are wrong about {shown}."
                )
            return
        asked = dict(pair.split(":") for pair in search.as_of.split(","))
        if any(offset != int(asked.get(partition, 0)) for partition, offset in coverage.offsets.items()):
            yield Finding("too-early", where, f"as_of {search.as_of}, but its offsets are {coverage.offsets}.")

    def _matches(
        self,
        search: Search,
        coverage: Coverage,
        meant: NDArray[np.int64],
        among: set[int],
        query: Embedding,
        where: str,
    ) -> Iterator[Finding]:
        """What is wrong with single matches."""
        of_id = {self._truth.said[number].image_id: number for number in meant.tolist()}
        seen: set[str] = set()
        for place, match in enumerate(search.matches):
            at = f"{where}, match {place} {match.id!r} ({match.partition}:{match.offset})"
            if match.id in seen:
                yield Finding("twice", at, "it was there already.")
                continue
            seen.add(match.id)
            number = of_id.get(match.id)
            if number is None or self._truth.places.get((match.partition, match.offset)) != number:
                yield self._misplaced(match, number, search, coverage, at)
            elif number not in among:
                yield Finding("filter", at, f"the filter does not hold for {dict(self._truth.said[number].metadata)}.")
            else:
                yield from self._content(match, number, search, query, at)

    def _content(self, match: Match, number: int, search: Search, query: Embedding, at: str) -> Iterator[Finding]:
        said = self._truth.said[number]
        distance = float(self._truth.distances(query, np.array([number]))[0])
        if abs(match.distance - distance) > ROUNDING * max(1.0, distance):
            yield Finding("distance", at, f"its distance is {distance!r}, told is {match.distance!r}.")
        elif search.max_distance is not None and match.distance > search.max_distance:
            yield Finding("distance", at, f"{match.distance!r} is beyond max_distance {search.max_distance!r}.")
        if match.timestamp != said.time_ms:
            yield Finding("metadata", at, f"its time is {said.time_ms}, told is {match.timestamp}.")
        if match.metadata is not None and match.metadata != said.metadata:
            yield Finding("metadata", at, f"its metadata are {dict(said.metadata)}, told are {match.metadata}.")

    def _misplaced(self, match: Match, number: int | None, search: Search, coverage: Coverage, at: str) -> Finding:
        """A match whose id does not mean its record at the coverage."""
        sent = self._sends.get((match.partition, match.offset))
        if sent is None or match.log != self._log:
            return Finding("never-sent", at, f"there is no such record in {self._log}.")
        if sent.kind == "bad":
            return Finding("rejected", at, f"its record must be rejected ({sent.reason}).")
        if sent.image_id != match.id:
            return Finding("never-sent", at, f"its record was sent as {sent.image_id!r}.")
        said = self._truth.said[self._truth.places[match.partition, match.offset]]
        is_beyond = match.offset >= coverage.offsets.get(str(match.partition), 0)
        if is_beyond or (search.as_of and "T" in search.as_of and said.effective_ms > time_ms_of(search.as_of)):
            return Finding("ahead", at, f"{_named(coverage)} do not hold its record.")
        if number is None:
            return Finding("deleted", at, f"among {_named(coverage)} the id means no image.")
        means = self._truth.said[number]
        return Finding("stale", at, f"among {_named(coverage)} the id means {means.partition}:{means.offset}.")

    def _order(
        self, search: Search, coverage: Coverage, among: NDArray[np.int64], query: Embedding, where: str
    ) -> Iterator[Finding]:
        """Where brute force has another image, given that every match for itself is right."""
        distances = self._truth.distances(query, among)
        farthest = np.inf if search.max_distance is None else search.max_distance
        keyed = sorted(
            (distance, self._truth.said[number].image_id.encode(), number)
            for distance, number in zip(distances.tolist(), among.tolist(), strict=True)
            if distance <= farthest
        )
        expected = keyed[search.offset : search.offset + search.k]
        by_id = {name: distance for distance, name, _ in keyed}
        given = [match.id.encode() for match in search.matches]
        for place, (distance, name, number) in enumerate(expected):
            other = given[place] if place < len(given) else None
            if other == name or (other is not None and _is_rounding(by_id.get(other, np.inf), distance)):
                continue
            said = self._truth.said[number]
            shown = f"{name.decode()!r} ({said.partition}:{said.offset}) at {distance!r}"
            if other is not None and by_id.get(other) == distance:
                yield Finding("ties", where, f"match {place} must be {shown}, it is {other.decode()!r} at the same.")
            else:
                yield Finding("missing", where, f"match {place} must be {shown}, of {_named(coverage)}.")
            return
        if len(given) > len(expected) and not _is_rounding(by_id.get(given[-1], farthest), farthest):
            yield Finding("missing", where, f"it has {len(given)} matches, brute force finds {len(expected)}.")


def _is_rounding(one: float, other: float) -> bool:
    """Whether two distances may come either way round: nearly equal, and not equal."""
    return 0 < abs(one - other) <= ROUNDING * max(1.0, other)


def _named(coverage: Coverage) -> str:
    offsets: Any = coverage.offsets
    return f"the records of generation {coverage.generation} below {offsets}"
