"""Waiting in turn, fair between clients: who asks much waits behind who asks little, and is refused first when all is full."""

import heapq
import itertools
from collections import defaultdict
from contextvars import ContextVar
from typing import Generic, NamedTuple, TypeVar

from api.answers.bounded_work import busy
from api.answers.problems import ProblemError

T = TypeVar("T")

# Who sent the request that is answered: the id of a key, or an address.
ASKED_BY: ContextVar[str] = ContextVar("asked_by", default="")


class _Place(NamedTuple):
    start: float
    number: int
    client: str
    cost: float


class FairQueue(Generic[T]):
    """Things that wait, each of a client and with a cost. Bounded by number and by cost.

    The next one is the one that would come first if all clients were served at once at the same pace (start-time fair queueing,
    Goyal, Vin and Cheng 1996). So one that asks for little waits for one thing of each other client at most, however much they want.
    When it is full, who comes takes the newest place of the client that waits with most, as long as that is more than its own.

    Args:
        count_max, cost_max: of all that wait. A single thing may cost more.

    Attributes:
        count_max: may change at any time; what waits already goes on waiting.
    """

    def __init__(self, count_max: int, cost_max: float) -> None:
        self.count_max, self._cost_max = count_max, cost_max
        self._places: list[_Place] = []
        self._things: dict[int, T] = {}
        # Of each client that waits, costs by number, the newest behind.
        self._waiting: defaultdict[str, dict[int, float]] = defaultdict(dict)
        self._finished: dict[str, float] = {}
        self._now = 0.0
        self._cost = 0.0
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._things)

    def put(self, thing: T, client: str, cost: float) -> list[T]:
        """Let something wait. Returns what had to give up its place for it.

        Raises:
            ProblemError: 429 ``over-share`` when this client waits with more than others do; 503 ``busy`` when all wait with as much.
        """
        given_up = [self._remove(number, heaviest) for number, heaviest in self._in_the_way_of(client, cost)]
        start = max(self._now, self._finished.get(client, 0.0))
        self._finished[client] = start + cost
        place = _Place(start, next(self._numbers), client, cost)
        heapq.heappush(self._places, place)
        self._things[place.number] = thing
        self._waiting[client][place.number] = cost
        self._cost += cost
        return given_up

    def first(self) -> tuple[T, float]:
        """The next one and its cost, which goes on waiting.

        Raises:
            IndexError: nothing waits.
        """
        while self._places[0].number not in self._things:
            heapq.heappop(self._places)
        return self._things[self._places[0].number], self._places[0].cost

    def pop(self) -> T:
        """The next one.

        Raises:
            IndexError: nothing waits.
        """
        self.first()
        place = heapq.heappop(self._places)
        self._now = place.start
        thing = self._remove(place.number, place.client)
        if not self._things:
            self._finished.clear()
        return thing

    def _in_the_way_of(self, client: str, cost: float) -> list[tuple[int, str]]:
        """Places, with their clients, that are to be given up so that there is one for this client."""
        held = {name: sum(places.values()) for name, places in self._waiting.items()}
        chosen: list[tuple[int, str]] = []
        count, waiting = len(self._things), self._cost
        while count and (count >= self.count_max or waiting + cost > self._cost_max):
            heaviest = max(held, key=held.__getitem__)
            if heaviest == client or held[heaviest] <= held.get(client, 0.0) + cost:
                raise over_share(len(self._waiting[client])) if heaviest == client and len(held) > 1 else busy(count)
            newest = max(number for number in self._waiting[heaviest] if (number, heaviest) not in chosen)
            chosen.append((newest, heaviest))
            freed = self._waiting[heaviest][newest]
            held[heaviest] -= freed
            count, waiting = count - 1, waiting - freed
        return chosen

    def _remove(self, number: int, client: str) -> T:
        self._cost -= self._waiting[client].pop(number)
        if not self._waiting[client]:
            del self._waiting[client]
        return self._things.pop(number)


def over_share(waiting: int, retry_after_s: int = 1) -> ProblemError:
    """429: this client waits with more than its share already."""
    problem = ProblemError(
        429,
        "over-share",
        f"{waiting} requests of yours wait already, and others wait too. Ask again in {retry_after_s} s, with fewer at once.",
    )
    problem.headers["Retry-After"] = str(retry_after_s)
    return problem
