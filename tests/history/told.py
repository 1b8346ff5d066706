"""Whether watches were told of what they had to be told, of nothing else, and of each record once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from tests.history.answers import ROUNDING
from tests.history.filters import holds
from tests.history.held import HeldMatch
from tests.history.journal import Outcome, Send, Unwatch, Watch
from tests.history.rules import Finding
from tests.history.truth import Place, Truth

# How soon a watch that was deleted is told of nothing any more. The watcher looks every second, when the machine lets it, and when
# none of the servers has just gone.
FORGOTTEN_AFTER_S, FORGOTTEN_WITHOUT_S = 5.0, 10.0


class WatchJudge:
    """Judges watches one by one.

    Args:
        sends: what every record of the topic was sent as.
        outcomes: of the sends, by number.
        told: all that was told.
        may_repeat: whether there was a fault after which something may be told again.
        gone_s: when servers went.
    """

    def __init__(
        self,
        truth: Truth,
        sends: dict[Place, Send],
        outcomes: dict[int, Outcome],
        told: Sequence[HeldMatch],
        log: str,
        *,
        may_repeat: bool,
        gone_s: Sequence[float] = (),
    ) -> None:
        self._truth = truth
        self._sends = sends
        self._outcomes = outcomes
        self._log = log
        self._may_repeat = may_repeat
        self._gone_s = gone_s
        self._told: dict[str, list[HeldMatch]] = defaultdict(list)
        for match in told:
            self._told[match.watch].append(match)

    def findings(self, watch: Watch, deleted: Unwatch | None) -> Iterator[Finding]:
        """What is wrong with what a watch was told."""
        where = f"watch {watch.id}"
        yield from self._start(watch, where)
        query = self._truth.query(watch.query, np.zeros(0, np.int64))
        assert query is not None, where
        puts = [number for number, said in enumerate(self._truth.said) if said.is_put]
        all_distances = self._truth.distances(query, np.array(puts, np.int64)).tolist()
        distances = dict(zip(puts, all_distances, strict=True))
        matching = {
            (said.partition, said.offset): distance
            for number, distance in distances.items()
            if distance <= watch.max_distance * (1 + ROUNDING)
            and (said := self._truth.said[number]).offset >= watch.start.get(str(said.partition), 0)
            and (watch.filter is None or holds(watch.filter, said.image_id, said.metadata))
        }
        ids: dict[Place, set[str]] = defaultdict(set)
        for match in self._told[watch.id]:
            place = match.partition, match.offset
            at = f"{where}, told of {match.image!r} ({match.partition}:{match.offset})"
            yield from self._one(match, matching.get(place), distances, at)
            if ids[place] and (match.id not in ids[place] or not self._may_repeat):
                yield Finding("told-twice", at, "it was told of it already.")
            ids[place].add(match.id)
            forgotten_s = deleted.ended_s + self._forgotten_after_s(deleted) if deleted and deleted.is_known else np.inf
            if self._sends[place].began_s > forgotten_s:
                yield Finding("told-wrongly", at, "the watch was deleted before.")
        for place in matching.keys() - ids.keys() if deleted is None else ():
            if matching[place] > watch.max_distance * (1 - ROUNDING) and matching[place] > 0:
                continue  # on the very edge: rounding decides
            said = self._truth.said[self._truth.places[place]]
            yield Finding(
                "not-told",
                where,
                f"{said.image_id!r} ({place[0]}:{place[1]}) at {matching[place]!r} matches, nobody told.",
            )

    def _one(self, match: HeldMatch, distance: float | None, distances: dict[int, float], at: str) -> Iterator[Finding]:
        place = match.partition, match.offset
        sent = self._sends.get(place)
        if sent is None or match.log != self._log or sent.image_id != match.image:
            yield Finding("never-sent", at, f"there is no such record in {self._log}.")
        elif distance is None:
            number = self._truth.places.get(place)
            far = None if number is None else distances.get(number)
            yield Finding("told-wrongly", at, f"at {far!r}, it does not match.")
        elif abs(match.distance - distance) > ROUNDING * max(1.0, distance):
            yield Finding("distance", at, f"its distance is {distance!r}, told is {match.distance!r}.")

    def _forgotten_after_s(self, deleted: Unwatch) -> float:
        is_soon = any(abs(gone_s - deleted.ended_s) < FORGOTTEN_WITHOUT_S for gone_s in self._gone_s)
        return FORGOTTEN_WITHOUT_S if is_soon else FORGOTTEN_AFTER_S

    def _start(self, watch: Watch, where: str) -> Iterator[Finding]:
        for (partition, offset), sent in self._sends.items():
            start, outcome = watch.start.get(str(partition), 0), self._outcomes.get(sent.n)
            is_before = outcome is not None and outcome.state == "confirmed" and outcome.ended_s < watch.began_s
            if (is_before and start <= offset) or (sent.began_s > watch.ended_s and start > offset):
                when = "before it" if is_before else "after it"
                yield Finding(
                    "watch-start", where, f"it begins at {watch.start}; {partition}:{offset} was sent {when}."
                )
                return
