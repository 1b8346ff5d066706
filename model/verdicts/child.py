"""Explains matches in a child process (`model.verdicts.explainer`), as `model.pictures.child` decodes."""

from collections.abc import Sequence

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


class Comparison(msgspec.Struct, frozen=True, array_like=True):
    """A question to the explainer: an image and what it is compared with."""

    query: Shown
    matches: list[Shown]


class Explained(msgspec.Struct, frozen=True, array_like=True):
    """`model.verdicts.explanation.Explanation` as a frame: edits are (name, amount, unit), the alignment has 3 rows or none."""

    verdict: str
    edits: list[tuple[str, float, str]]
    alignment: list[list[float]]
    residual: float
    confidence: float


class Explainer(Guarded):
    """Explains matches in a child of its own (`model.verdicts.explainer`), which is not there before the first question."""

    def __init__(self, *, cpu_limit_s: float = CPU_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        # Pictures are small: a pool of threads that spins would only steal time from the rest.
        one_thread = {"OPENBLAS_NUM_THREADS": "1"}
        limits = [str(cpu_limit_s), str(memory_limit_bytes)]
        super().__init__("model.verdicts.explainer", limits, WALL_LIMIT_S, Comparison(Shown(b"", 0, 0), []), one_thread)

    def explanations(self, query: Shown, matches: Sequence[Shown]) -> list[Explained] | None:
        """One explanation a match, in order; None if the child ended on them, twice. Blocks.

        Raises:
            DependencyError: a child cannot be started, which is no image's fault.
        """
        with self._lock:
            for _ in range(TRIES_ALONE):
                try:
                    told = self._call(Comparison(query, list(matches)), list[Explained])
                except ChildEndedError:
                    continue
                return told if len(told) == len(matches) else None
        return None
