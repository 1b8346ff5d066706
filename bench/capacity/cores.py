"""Cores that whatever wants to compute shares evenly, as a resource of a simulation: processor sharing."""

from simpy import Environment, Event


class Cores:
    """So many cores, which need not be a whole number. Of those that compute each has one core, or its even part where they are more.

    Attributes:
        count: of cores.
        used_s: processor time that was handed out.
    """

    def __init__(self, environment: Environment, count: float) -> None:
        assert count > 0, count
        self.count = count
        self.used_s = 0.0
        self._environment = environment
        self._left_s: dict[Event, float] = {}
        self._since_s = 0.0
        self._turn = 0

    def work(self, seconds: float) -> Event:
        """An event that happens once so many seconds of one core were spent on it."""
        done = self._environment.event()
        if seconds <= 0:
            return done.succeed()
        self._advance()
        self._left_s[done] = seconds
        self._plan()
        return done

    def _speed(self) -> float:
        return min(1.0, self.count / len(self._left_s))

    def _advance(self) -> None:
        """Hand out what was computed since the last change."""
        now_s = self._environment.now
        if self._left_s:
            each_s = (now_s - self._since_s) * self._speed()
            self.used_s += each_s * len(self._left_s)
            for job in self._left_s:
                self._left_s[job] -= each_s
        self._since_s = now_s

    def _plan(self) -> None:
        """Wake up when the next one is done, unless something changes before."""
        self._turn += 1
        if self._left_s:
            wait_s = max(0.0, min(self._left_s.values()) / self._speed())
            woken, turn = self._environment.timeout(wait_s), self._turn
            assert woken.callbacks is not None
            woken.callbacks.append(lambda _: self._finish(turn))

    def _finish(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._advance()
        # Of several that are done at once none may be left with a rounding's rest. The nearest one is done by definition.
        nearest_s = min(self._left_s.values())
        for job in [job for job, left_s in self._left_s.items() if left_s <= nearest_s + 1e-12]:
            del self._left_s[job]
            job.succeed()
        self._plan()
