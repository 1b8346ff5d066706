"""The explainer child's program: decodes a query and stored thumbnails and explains one by the others; `model.verdicts.explainer` starts it.

What is compared, and how, is up to the kind of picture that the encoder knows: `model.verdicts.digits` or `model.verdicts.photographs`.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Protocol

import cv2
from PIL import Image

from contract.errors import RejectedError
from model.limited_program import answer_questions, ended_when_out_of_memory, limit_cpu
from model.pictures.images import decode
from model.pictures.pillow import samples
from model.verdicts.digits.pair import DigitQuery
from model.verdicts.frames import UNREADABLE, Explained, ExplainerQuestion, Kind, Shown
from model.verdicts.photographs.pair import PhotoQuery

# A large query is first reduced by a whole number, as long as its shorter side keeps so many pixels.
QUERY_SIDE_PX_MAX = 768


class ExplainedQuery(Protocol):
    """A query prepared once for all its matches."""

    def explained(self, match: Shown, hypothesis: str) -> Explained:
        """What the query is to a match, which was found by that hypothesis; `UNREADABLE` if the match's bytes are no picture."""


_QUERIES: dict[Kind, Callable[[Image.Image, tuple[int, int]], ExplainedQuery]] = {
    "digits": DigitQuery,
    "photographs": PhotoQuery,
}


def main(descriptor: int, cpu_limit_s: float, memory_limit_bytes: int) -> None:
    """Answer frames until the parent closes its end."""
    cv2.setNumThreads(1)
    _warm_up()
    answer_questions(descriptor, memory_limit_bytes, ExplainerQuestion, lambda asked: _answer(asked, cpu_limit_s))


def _answer(asked: ExplainerQuestion, cpu_limit_s: float) -> list[Explained]:
    limit_cpu(cpu_limit_s)
    measured = partial(limit_cpu, cpu_limit_s)
    try:
        image = decode(
            asked.query.image, picture_side_px=QUERY_SIDE_PX_MAX, accept_truncated=True, when_measured=measured
        ).image
    except RejectedError:
        return [UNREADABLE] * len(asked.matches)
    query = _QUERIES[asked.kind](image, (asked.query.width, asked.query.height))
    explained = []
    for number, match in enumerate(asked.matches):
        limit_cpu(cpu_limit_s)
        hypothesis = asked.hypotheses[number] if asked.hypotheses else ""
        explained.append(query.explained(match, hypothesis))
    limit_cpu(0)
    return explained


def _warm_up() -> None:
    """Load Pillow's plugins and fill tables, so that neither counts as a query's time or memory."""
    for sample in samples():
        for make in _QUERIES.values():
            query = make(decode(sample).image.rotate(5), (40, 40))
            assert query.explained(Shown(sample, 40, 40), "").verdict


if __name__ == "__main__":
    ended_when_out_of_memory(lambda: main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
