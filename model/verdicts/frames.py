"""What the explainer and its child send each other: pictures to compare, and what one is to another."""

from typing import Literal, NamedTuple

import msgspec

Kind = Literal["digits", "photographs"]


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """An encoded image, or its thumbnail, and the pixels (`model.pictures.images.Picture`) of the image itself."""

    image: bytes
    width: int
    height: int


class ExplainerQuestion(msgspec.Struct, frozen=True, array_like=True):
    """An image and what it is compared with.

    Attributes:
        kind: of pictures, by which the encoder chose the matches.
        hypotheses: what found each match (`model.pictures.hypotheses`), or nothing.
    """

    query: Shown
    matches: list[Shown]
    kind: Kind = "digits"
    hypotheses: list[str] = []


class Edit(NamedTuple):
    """One thing that was done to the match to get the query.

    Attributes:
        name: as `api.answers.matches.EditName` lists them.
        amount: in `unit`; degrees are counted counter-clockwise, factors are 1 and offsets 0 where nothing was done.
    """

    name: str
    amount: float
    unit: str


class Explained(msgspec.Struct, frozen=True, array_like=True):
    """What a query is to a match. All numbers are plain ones, since frames hold no others.

    Attributes:
        verdict: ``same pixels``, ``altered copy`` or ``similar``; empty where the match cannot be read.
        edits: of an altered copy only.
        alignment: 3 rows that take places (x, y, 1) in the query to places in the match, both in their own pixels, counted from the
            middle of the upper left one; none of a similar picture.
        residual: what is left after the edits, as a share of the match's own variation: 0 nothing; noise does not count.
        confidence: that the query is a copy of the match, in [0, 1].
        outline: corners (x, y) of what both show, in the query and in the match; empty where that is not known.
    """

    verdict: str
    edits: list[Edit]
    alignment: list[list[float]]
    residual: float
    confidence: float
    outline: tuple[list[list[float]], list[list[float]]] = ([], [])


UNREADABLE = Explained("", [], [], 0.0, 0.0)
