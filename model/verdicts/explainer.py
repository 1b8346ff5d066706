"""Explains matches in a child process with limits (`model.verdicts.explainer_program`)."""

from collections.abc import Sequence

from model.limited_process import CPU_LIMIT_S, MEMORY_LIMIT_BYTES, WALL_LIMIT_S, LimitedProcess
from model.verdicts.frames import Explained, ExplainerQuestion, Kind, Shown


class Explainer(LimitedProcess):
    """Explains matches in a child of its own, which is not there before the first question."""

    def __init__(self, *, cpu_limit_s: float = CPU_LIMIT_S, memory_limit_bytes: int = MEMORY_LIMIT_BYTES) -> None:
        super().__init__(
            "explainer",
            program="model.verdicts.explainer_program",
            arguments=[str(cpu_limit_s), str(memory_limit_bytes)],
            wall_limit_s=WALL_LIMIT_S,
            # Pictures are small: a pool of threads that spins would only steal time from the rest.
            environment={"OPENBLAS_NUM_THREADS": "1"},
        )

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
        question = ExplainerQuestion(query, list(matches), kind, list(hypotheses))
        with self._lock:
            explained = self._call_again(question, list[Explained])
        return explained if explained is not None and len(explained) == len(matches) else None
