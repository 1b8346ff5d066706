"""How much an embedder takes at once: as much as is embedded in about a second, since what a batch brings appears together.

While several collections have records, it is less: the others wait for a batch to end.
"""

from collections import deque

from workers.embedder.records import Stretch, divided

BATCH_S = 1.0
# Two such batches, one of them embedded and one written, are waited for before a turn comes: well below a second.
SHARED_BATCH_S = 0.1
# Before anything is known: half a second of photographs, and digits reach 512 after five batches more.
FIRST_RECORDS = 16


class Pace:
    """Learns from each batch how many records the next one takes. A batch of few grows by doubling, so one odd image does no harm.

    Attributes:
        count: records of a batch that may take a second.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._record_s = 0.0
        self.count = min(FIRST_RECORDS, count_max)

    @property
    def shared_count(self) -> int:
        """Records of a batch while other collections have records too."""
        return max(1, min(self.count, int(SHARED_BATCH_S / max(self._record_s, 1e-6))))

    def note(self, count: int, took_s: float) -> None:
        """Take account of a batch of `count` records."""
        self._record_s = took_s / count
        fitting = int(count * BATCH_S / max(took_s, 1e-6))
        self.count = max(1, min(fitting, 2 * self.count, self._count_max))


class WaitingStretches:
    """Records that wait, taken in order, whatever stretches they came in."""

    def __init__(self) -> None:
        self._stretches: deque[Stretch] = deque()

    def __bool__(self) -> bool:
        return bool(self._stretches)

    def put(self, stretch: Stretch) -> None:
        """Have these wait behind the others."""
        self._stretches.append(stretch)

    def take(self, count: int) -> list[Stretch]:
        """Take up to `count` of the records that wait."""
        taken: list[Stretch] = []
        while count > 0 and self._stretches:
            stretch = self._stretches.popleft()
            if len(stretch.records) > count:
                stretch, rest = divided(stretch, count)
                self._stretches.appendleft(rest)
            taken.append(stretch)
            count -= len(stretch.records)
        return taken

    def clear(self) -> None:
        """Let go of all that wait: they are fetched again, or belong to another embedder now."""
        self._stretches.clear()
