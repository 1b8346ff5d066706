"""One neighbour of a query, and what it is to the query: a search answers many of them."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api.answers.records import Metadata, Source, Truncated

Verdict = Literal["same bytes", "same pixels", "altered copy", "similar"]
EditName = Literal[
    "shift",
    "rotation",
    "scale",
    "crop",
    "inversion",
    "blur",
    "noise",
    "jpeg",
    "brightness",
    "contrast",
    "mirrored",
    "stretch",
    "perspective",
    "border",
    "overlay",
    "pasted",
    "collage",
    "extended",
    "grey",
    "colour",
    "hue",
    "cast",
]
Corners = Annotated[list[list[float]], Field(min_length=3, max_length=8)]


class EditAnswer(BaseModel):
    """One thing that was done to the match to get the query."""

    name: EditName
    amount: float = Field(
        description=(
            "shift: how far the middle moved; rotation: counter-clockwise; scale, contrast (about middle grey, of photographs about "
            "the mean): factors; crop: the share of width and height that is missing, on average; inversion: 1; blur, noise: standard "
            "deviation of the Gaussian; jpeg: quality, 1 to 95; brightness: offset of middle grey, or with the unit × a factor. Of "
            "photographs also mirrored, grey: 1; stretch: how many times more width was enlarged than height, of the match; "
            "perspective: how much larger the nearest part is than the farthest, less 1; border, extended (more of the scene): the "
            "share of the query's width and height that does not show the match, on average; overlay (text, a logo): the share of "
            "the match that is covered; pasted, collage: the share of the query that shows the match; colour: factor of saturation; "
            "hue: by how much colours were turned on the wheel; cast: the colour that was added."
        )
    )
    unit: str = Field(description="px, °, ×, of white, of width and height, of area, quality, or empty.")


@dataclass(slots=True)
class OutlineAnswer:
    """What query and match both show: corners [x, y] in order, in the pixels of either picture, the same corners in both."""

    query: Corners
    match: Corners


@dataclass(slots=True)
class SearchMatch:
    """One neighbour; what only the store knows is null while it is away."""

    id: str
    distance: Annotated[float, Field(description="Euclidean distance of the embeddings.")]
    metadata: Metadata
    width: int | None
    height: int | None
    media_type: str | None
    same_bytes: Annotated[
        bool | None, Field(description="Whether query and image are equal byte by byte; null if unknown.")
    ]
    same_pixels: Annotated[
        bool | None, Field(description="Whether query and image show equal pixels; null if unknown.")
    ]
    truncated: Truncated
    thumbnail_url: str
    source: Source
    larger: Annotated[
        float | None,
        Field(
            description=(
                "How many times larger the match is than the query, when it has more pixels: the square root of pixels of the match "
                "by pixels of the query, so 2 where both sides are twice as long. Null otherwise, or when either size is unknown."
            )
        ),
    ]
    hypothesis: Annotated[
        str | None,
        Field(
            description=(
                "What of the query is like the match: `whole`, `turned-90` (against the clock), `turned-180`, `turned-270`, `mirrored`, "
                "`negative`, or a part such as `part-40-0-100`: 40 % of its width and height, as far left and as far down as it can lie. "
                "`distance` is from that to the match, and a verdict looks for the match there first. Null unless `effort=thorough` was "
                "asked for."
            ),
        ),
    ]
    verdict: Annotated[
        Verdict | None,
        Field(
            description=(
                "What the match is to the query; the query is thought to be made of the match. Null unless `explain` was asked for, or "
                "while the stored pixels cannot be read."
            )
        ),
    ]
    edits: Annotated[
        list[EditAnswer] | None,
        Field(
            description="What was done to the match to get the query; of an altered copy only. Empty: nothing that can be named."
        ),
    ]
    alignment: Annotated[
        list[list[float]] | None,
        Field(
            description=(
                "Rows of a 3 x 3 matrix that takes places (x, y, 1) in the query to places in the match: divide the first two numbers by "
                "the third, which is 1 without perspective. In pixels of either picture, 0 being the middle of the first, so that its corner "
                "is at -0.5; null unless the match is the same or a copy."
            )
        ),
    ]
    residual: Annotated[
        float | None,
        Field(
            description="What is left between both once the edits are undone, as a share of the match's own variation; noise does not count."
        ),
    ]
    confidence: Annotated[
        float | None,
        Field(description="That the query is a copy of the match, 0 to 1, if copies and others were equally frequent."),
    ]
    outline: Annotated[
        OutlineAnswer | None,
        Field(
            description=(
                "The part that query and match both show; null unless the match is the same, or a copy and the encoder knows photographs."
            )
        ),
    ]
