"""Which images are duplicates of which: four classes one after another, each among the images that the ones before left over.

Images come the best first. In each class they form groups around the best one, and all others of a group are left out of what
follows, where the best one stands for them. So an image is a duplicate at most once, n equal ones cost no more than n steps, and
who deletes all but the first of some classes' groups keeps a picture of each. Same bytes and same pixels are known by their
hashes. An altered copy belongs to what it is a copy of, also through another copy. Near ones are stars around the best one
(`gallery.duplicates.join.stars`): joined pair by pair instead, a film or a class of look-alikes would be one giant group.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gallery.duplicates.found import NOBODY, DuplicateClass, Judgement
from gallery.duplicates.join import exact_distances, nearest_before, stars

# The nearest better ones that each image is compared with by verdicts: a copy's original is nearly always the nearest of all.
COMPARED_MAX = 4


@dataclass(frozen=True)
class NearPair:
    """An image, and a better one that may be its original, by their rows."""

    copy: int
    original: int
    distance: float


@dataclass(frozen=True)
class Grouped:
    """A group.

    Attributes:
        rows: the best first.
        of: for each the row that it was compared with; -1 for the best one.
        judgements: by row, of altered copies.
    """

    kind: DuplicateClass
    rows: list[int]
    of: list[int]
    distances: list[float]
    judgements: Mapping[int, Judgement] = field(default_factory=dict)


# Says what pairs are; those that it leaves out are not known yet.
Judge = Callable[[Sequence[NearPair]], Mapping[tuple[int, int], Judgement]]
# Is told what is being done, and the share of it that was just done.
Tell = Callable[[str, float], object]
Apart = Mapping[int, Set[int]]


@dataclass
class Grouping:
    """Makes the groups.

    Args:
        embeddings: (n, d) float32 of all images, the best first.
        bytes_sha256, pixels_sha256: of each image; empty where they are unknown.
        apart: rows that a person said are no duplicates of a row.
    """

    embeddings: NDArray[np.float32]
    bytes_sha256: Sequence[bytes]
    pixels_sha256: Sequence[bytes]
    apart: Apart
    max_distance: float
    judge: Judge
    tell: Tell = lambda *_: None

    def groups(self) -> list[Grouped]:
        """All groups, class by class, in the order of their best images."""
        left = np.arange(len(self.embeddings))
        found: list[Grouped] = []
        for kind, hashes in (("same bytes", self.bytes_sha256), ("same pixels", self.pixels_sha256)):
            left = self._take(kind, left, self._equal(left.tolist(), hashes), found)  # type: ignore[arg-type]
        near = nearest_before(
            self.embeddings[left], self.max_distance, COMPARED_MAX, lambda share: self.tell("comparing", share)
        )
        pairs = [
            NearPair(int(left[row]), int(left[near.rows[row, place]]), float(near.distances[row, place]))
            for row, place in np.argwhere(near.rows >= 0).tolist()
        ]
        has_near = left[near.has_near]
        copies = self._copies(pairs)
        left = self._take("altered copy", left, {row: of for row, (of, _) in copies.items()}, found, copies)
        self._take("near", left, self._stars(np.intersect1d(left, has_near)), found)
        return found

    def _equal(self, rows: Sequence[int], hashes: Sequence[bytes]) -> dict[int, int]:
        """For each row the first of its group, if that is another one."""
        firsts: dict[bytes, list[int]] = {}
        of = {}
        for row in rows:
            if hashes[row]:
                known = firsts.setdefault(hashes[row], [])
                others = self.apart.get(row, frozenset())
                first = next((first for first in known if first not in others), None)
                if first is None:
                    known.append(row)
                else:
                    of[row] = first
        return of

    def _copies(self, pairs: Sequence[NearPair]) -> dict[int, tuple[int, Judgement]]:
        """For each copy what it is a copy of, with the judgement: of its possible originals the nearest that it may be with."""
        judged = self.judge(
            sorted(
                (pair for pair in pairs if pair.original not in self.apart.get(pair.copy, ())),
                key=lambda pair: (pair.distance, pair.copy, pair.original),
            )
        )
        found: dict[int, tuple[int, Judgement]] = {}
        best: dict[int, int] = {}
        for pair in pairs:  # in the order of the copies, of each the nearest original first
            judgement = judged.get((pair.copy, pair.original))
            if judgement is None or not judgement.is_copy or pair.copy in found:
                continue
            first = best.get(pair.original, pair.original)
            if not {pair.original, first} & self.apart.get(pair.copy, frozenset()):
                found[pair.copy] = pair.original, judgement
                best[pair.copy] = first
        return found

    def _stars(self, rows: NDArray[np.int64]) -> dict[int, int]:
        place_of = {int(row): place for place, row in enumerate(rows)}
        apart = {
            place_of[row]: {place_of[other] for other in others if other in place_of}
            for row, others in self.apart.items()
            if row in place_of
        }
        centres = stars(self.embeddings[rows], self.max_distance, apart, lambda share: self.tell("grouping", share))
        return {
            int(row): int(rows[centre])
            for place, (row, centre) in enumerate(zip(rows, centres, strict=True))
            if centre != place
        }

    def _take(
        self,
        kind: DuplicateClass,
        left: NDArray[np.int64],
        of: Mapping[int, int],
        found: list[Grouped],
        judged: Mapping[int, tuple[int, Judgement]] | None = None,
    ) -> NDArray[np.int64]:
        """Add the groups in which each row belongs to the one that `of` names for it, and return the rows that are left."""
        members: dict[int, list[int]] = {}
        best: dict[int, int] = {}
        for row in sorted(of):  # what a row belongs to comes before it
            best[row] = best.get(of[row], of[row])
            members.setdefault(best[row], []).append(row)
        for first in sorted(members):
            rows = members[first]
            compared = [of[row] for row in rows]
            distances = exact_distances(self.embeddings, np.array(rows), np.array(compared)).tolist()
            judgements = {row: judged[row][1] for row in rows} if judged else {}
            found.append(Grouped(kind, [first, *rows], [NOBODY, *compared], [0.0, *distances], judgements))
        taken = np.fromiter(of, np.int64, len(of))
        return np.setdiff1d(left, taken, assume_unique=True)
