"""Explains matches in a child process (`model.verdicts.explainer`), as `model.pictures.child` decodes."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from model.pictures.child import (
    CPU_LIMIT_S,
    MEMORY_LIMIT_BYTES,
    TRIES_ALONE,
    WALL_LIMIT_S,
    ChildEndedError,
    Guarded,
    Shown,
)

Kind = Literal["digits", "photographs"]


class Comparison(msgspec.Struct, frozen=True, array_like=True):
    """A question to the explainer: an image and what it is compared with.

    Attributes:
        hypotheses: what found each match (`model.pictures.hypotheses`), or nothing.
    """

    query: Shown
    matches: list[Shown]
    kind: Kind = "digits"
    hypotheses: list[str] = []


class Explained(msgspec.Struct, frozen=True, array_like=True):
    """What a query is to a match, as a frame.

    Attributes:
        verdict: ``same pixels``, ``altered copy`` or ``similar``; empty where the match cannot be read.
        edits: (name, amount, unit).
        alignment: 3 rows that take places in the query to places in the match, both in their own pixels; none of a similar picture.
        outline: corners (x, y) of what both show, in the query and in the match; empty where that is not known.
    """

    verdict: str
    edits: list[tuple[str, float, str]]
    alignment: list[list[float]]
    residual: float
    confidence: float
    outline: tuple[list[list[float]], list[list[float]]] = ([], [])


UNREADABLE = Explained("", [], [], 0.0, 0.0)


class Explainer(Guarded):
    """Explains matches in a child of its own (`model.verdicts.explainer`), which is not there before the first question."""

    def __init__(self, *, cpu_limit_s: float = CPU_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        # Pictures are small: a pool of threads that spins would only steal time from the rest.
        one_thread = {"OPENBLAS_NUM_THREADS": "1"}
        limits = [str(cpu_limit_s), str(memory_limit_bytes)]
        super().__init__("model.verdicts.explainer", limits, WALL_LIMIT_S, Comparison(Shown(b"", 0, 0), []), one_thread)

    def explanations(
        self, query: Shown, matches: Sequence[Shown], kind: Kind = "digits", hypotheses: Sequence[str] = ()
    ) -> list[Explained] | None:
        """One explanation a match, in order; None if the child ended on them, twice. Blocks.

        Args:
            kind: of pictures, by which the encoder chose the matches.
            hypotheses: what found each match, or nothing.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        with self._lock:
            for _ in range(TRIES_ALONE):
                try:
                    told = self._call(Comparison(query, list(matches), kind, list(hypotheses)), list[Explained])
                except ChildEndedError:
                    continue
                return told if len(told) == len(matches) else None
        return None
