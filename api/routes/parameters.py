"""The parameters that searches take, as FastAPI reads and describes them."""

from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from api.answers.efforts import Effort
from api.answers.ordering import Sort
from api.routes.offsets import MIN_OFFSETS_PATTERN

K_MAX = 1000
# With K_MAX 10,000 in all: what is in between is searched too.
OFFSET_MAX = 9000
WAIT_MS_MAX = 5000

K = Annotated[
    int, Query(ge=1, le=K_MAX, description="How many neighbours. At most 100 with `explain` or `effort=thorough`.")
]
MaxDistance = Annotated[float | None, Query(ge=0, allow_inf_nan=False, description="Leave farther images out.")]
MinOffsets = Annotated[
    str | None,
    Query(
        pattern=MIN_OFFSETS_PATTERN,
        description="Answer only from an index that covers all records below these offsets, else 412.",
        examples=["0:1240,1:1198"],
    ),
]
AsOfTime = Annotated[
    str | None,
    Query(
        max_length=4096,
        description=(
            "Answer as of an earlier time: from exactly the records below these offsets (none of partitions that are not named), or from "
            "those whose effective time is not after this one (RFC 3339). Images that were replaced or deleted since are found as they "
            "were, as far back as the indexer keeps them; 410 `as-of-gone` tells the oldest that is kept, and 412 what is not covered yet."
        ),
        examples=["0:1240,1:1198", "2026-01-31T12:00:00Z"],
    ),
]
WaitMs = Annotated[int, Query(ge=0, le=WAIT_MS_MAX, description="How long to wait for `min_offsets` or `as_of`.")]
Explain = Annotated[
    bool,
    Query(
        description=(
            "Say of each match whether the query is the same, an altered copy of it, or only similar, and of a copy what was done. "
            "Costs some milliseconds a match; needs an image or an image_id, else 400 `explain-needs-image`."
        )
    ),
]
FilterText = Annotated[
    str | None,
    Query(
        alias="filter",
        description=(
            "Search among images whose metadata match, as JSON in Qdrant's form: `must`, `should` and `must_not` hold conditions or further "
            "filters. Conditions: `{key, match: {value | any | except}}`, `{key, range: {gt, gte, lt, lte}}`, `{is_null: {key}}`, "
            "`{has_id: [ids]}`. A key is `label`, `camera.lens`, `tags` (an array: one element is enough), `places[].city` (an array of "
            'objects), or `"a.b"` for a name with dots. Exact, also when few match; `coverage.matched` says how many. May stand in a '
            "form or a JSON body instead, as `filter`. A wrong one gets 400 `bad-filter`, which names the place."
        ),
        examples=['{"must": [{"key": "label", "match": {"value": 7}}]}'],
    ),
]
Offset = Annotated[
    int,
    Query(
        ge=0,
        le=OFFSET_MAX,
        description="Leave so many of the nearest out: the next page. Give `generation` too, so that no image is on two pages or none.",
    ),
]
Generation = Annotated[
    int | None,
    Query(
        ge=0,
        lt=10**15,
        description=(
            "Answer from this generation, as `coverage.generation` of an earlier answer names it. It is kept for a minute at least; "
            "after that 410 `generation-gone`: begin with the first page again."
        ),
    ),
]
IndexId = Annotated[
    str | None,
    Query(
        pattern=r"^[0-9a-f]{1,64}$",
        description=(
            "Of which index `generation` is one, as `coverage.index_id` names it: those of another machine have the same numbers, and "
            "are `generation-gone` here."
        ),
    ),
]
With = Annotated[
    str | None,
    Query(
        alias="with",
        description=(
            "Fields that each match has beside id and distance, with commas between; others are absent. Left out: all of them. Without those "
            "that the store knows, such as `metadata`, the store is not asked. Another name gets 400 `bad-with`."
        ),
        examples=["metadata,thumbnail_url"],
    ),
]
HowThorough = Annotated[
    Effort,
    Query(
        description=(
            "`high` looks at more candidates where the engine is `cassandra`; an exact answer it leaves as it is. `thorough` also asks whether the query is turned, mirrored or a negative, or whether a part of it is what is looked for: 24 "
            "hypotheses, each searched exactly, in one answer that says which one found a match. The order is by distance and a margin, which "
            "is 0 for the whole query, and `max_distance` applies to their sum. Costs as much as 24 searches; needs an image, else 400 "
            "`effort-needs-image`."
        )
    ),
]
Address = Annotated[
    str | None,
    Query(
        description=(
            "Search with the picture at this http or https address instead of a body: fetched once, within 10 s and 32 MiB, never from "
            "inside the network. Where the setting does not allow it, 403 `address-search-off`."
        ),
        examples=["https://example.com/picture.jpg"],
    ),
]
SortBy = Annotated[
    Sort,
    Query(
        description=(
            "The order of the k nearest, which stay the same ones: `best` by distance (with its margin where `effort` is `thorough`); `biggest` by pixels; `newest` and `oldest` by "
            "Kafka's time; `most_changed` by number of edits, then by residual, copies first (with `explain` only, else 400 "
            "`sort-needs-explain`). Ties by distance, then id."
        )
    ),
]


class SearchParameters(BaseModel):
    """What the query string of a search says."""

    k: K = 10
    max_distance: MaxDistance = None
    min_offsets: MinOffsets = None
    wait_ms: WaitMs = 0
    explain: Explain = False
    sort: SortBy = "best"
    effort: HowThorough = "normal"
    url: Address = None
    as_of: AsOfTime = None
    filter_text: FilterText = None
    offset: Offset = 0
    generation: Generation = None
    index_id: IndexId = None
    fields: With = None
