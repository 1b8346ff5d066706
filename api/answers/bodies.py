"""The bodies of answers, as OpenAPI shows them. Times are milliseconds since 1970, as Kafka counts them."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, Field

from api.answers.problems import Problem
from contract.messages import ID_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from gallery.generations.manifest import Manifest
from topics.end_offsets import Ends

Metadata = Annotated[
    dict[str, Any] | None,
    Field(description="The JSON object that was published with the image, {} without any; null while it is unknown."),
]
Truncated = Annotated[
    bool | None,
    Field(
        description="Whether the file lacks its end, so that what is missing is shown grey, black or transparent; null while it is unknown."
    ),
]
Degraded = Annotated[list[str], Field(description="Fields that are null because what they come from is away.")]
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
State = Literal["confirmed", "rejected", "embedded", "searchable", "deleted", "superseded"]


# What one search answers is not made of pydantic's models, which cost three times as much to make.
@dataclass(slots=True)
class Source:
    """The Kafka record that brought an image."""

    log: Annotated[str, Field(description="The topic's name and id.")]
    partition: int
    offset: int
    timestamp: Annotated[int, Field(description="Kafka's time of the record.")]


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What an answer covers: all records of `log` below `offsets`."""

    index_id: str
    generation: int
    log: str
    offsets: Annotated[
        dict[str, int], Field(description="By partition, the offset behind the last record that is covered.")
    ]
    end_offsets: Annotated[dict[str, int] | None, Field(description="Where Kafka's partitions end; null when unknown.")]
    count: int
    exact: Literal[True] = True
    encoder: str
    digest: str
    set_aside: Annotated[
        int,
        Field(
            description=(
                "Records below `offsets` whose stored row cannot be used; what ids of theirs mean, their other records say."
            )
        ),
    ]


class NotShownRecord(BaseModel):
    """The newest record of an id, when its stored row cannot be used."""

    log: str
    partition: int
    offset: int
    reason: str = Field(description="A stable code.")


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


@dataclass(slots=True)
class Timing:
    """Milliseconds that each stage took."""

    decode: float = 0.0
    encode: float = 0.0
    search: float = 0.0
    lookup: float = 0.0
    total: float = 0.0


@dataclass(slots=True)
class SearchAnswer:
    """The nearest images, nearest first, ties by id."""

    matches: list[SearchMatch]
    coverage: Coverage
    degraded: Degraded
    timing_ms: Timing


class QueryAnswer(BaseModel):
    """One query's answer in a batch: `matches`, or the `problem` that it alone has; the other one is null."""

    matches: list[SearchMatch] | None
    problem: Problem | None


class BatchAnswer(BaseModel):
    """One answer for each query in their order, all from one generation; times are sums over the queries."""

    answers: list[QueryAnswer]
    coverage: Coverage
    degraded: Degraded
    timing_ms: Timing


class ImageAnswer(BaseModel):
    """What is known of one image."""

    id: str
    metadata: Metadata
    width: int | None
    height: int | None
    media_type: str | None
    size_bytes: int | None
    bytes_sha256: str | None
    pixels_sha256: str | None
    truncated: Truncated
    thumbnail_url: str
    original_url: str
    source: Source
    newest_not_shown: NotShownRecord | None = Field(
        description="A newer record of this id whose stored row cannot be used; null as a rule."
    )
    degraded: Degraded


class TimelineAnswer(BaseModel):
    """How far one record has come. Times are null where they are unknown or have not come."""

    id: str
    state: State
    reason: str = Field(description="Why it was rejected, else empty.")
    source: Source | None = Field(description="Null until the embedder has come to the record.")
    confirmed_at: int | None = Field(description="Kafka's time of the record.")
    embedded_at: int | None = Field(description="When the embedder's verdict was stored.")
    searchable_at: int | None = Field(description="When this process first covered it; null if that was at its start.")
    degraded: Degraded


class WriteAnswer(BaseModel):
    """What Kafka confirmed; `min_offsets` makes a search wait until it has taken effect."""

    id: str
    log: str
    partition: int
    offset: int
    min_offsets: str


class BaseSize(BaseModel):
    """The base of the generation that is served."""

    name: str
    count: int


class TailSize(BaseModel):
    """What came since the base."""

    entries: int
    size_bytes: int


class Rates(BaseModel):
    """Records a second, over the last five seconds."""

    in_per_s: float | None = Field(description="Arriving in Kafka; null when unknown.")
    out_per_s: float = Field(description="Becoming covered.")


class FreshnessAnswer(BaseModel):
    """Milliseconds from Kafka's timestamp to being searchable here, over the last `count` arrivals."""

    p50: float
    p99: float
    count: int


class NewestImage(BaseModel):
    """One of the latest arrivals."""

    id: str
    thumbnail_url: str
    source: Source


class EncoderIndex(BaseModel):
    """One encoder's index: the one that answers, or one that grows beside it."""

    name: str = Field(description="The encoder's name, as `python -m gallery promote` takes it.")
    encoder: str = Field(description="The encoder's fingerprint.")
    index_id: str
    generation: int
    count: int
    offsets: dict[str, int] = Field(description="By partition, the offset behind the last record that is covered.")
    lag: int | None = Field(description="Records in Kafka that it does not cover; null when unknown.")
    is_serving: bool = Field(description="Whether this process answers from it.")


class ServingEncoder(BaseModel):
    """The encoder that answers, as its card describes it."""

    name: str
    fingerprint: str
    knows_drawings: bool = Field(description="Whether drawings, such as handwritten digits, are what it is for.")


class StallAnswer(BaseModel):
    """Coverage stands still although records wait."""

    part: str = Field(description="What lets it: `embedder`, `indexer` or `cassandra`.")
    since: int = Field(description="Milliseconds since 1970.")


class IndexAnswer(BaseModel):
    """The state of the index as this process serves it."""

    index_id: str
    generation: int
    count: int
    coverage: Coverage
    base: BaseSize
    tail: TailSize
    published_at: int
    age_s: float = Field(description="Since the generation was published; an event carries it as of its sending.")
    lag: int | None = Field(description="Records in Kafka that are not covered; null when unknown.")
    rates: Rates
    freshness_ms: FreshnessAnswer | None = Field(description="Null before anything arrived.")
    rejected: dict[str, int] = Field(description="Records refused so far, by reason.")
    expired: int = Field(description="Offsets that Kafka expired before they were embedded.")
    newest: list[NewestImage]
    encoder: ServingEncoder
    indexes: list[EncoderIndex] = Field(
        description="Of every encoder: first the one that answers, then those beside it."
    )
    refused: str = Field(description="Why a newer generation is not served; empty when the newest one is.")
    dependencies: dict[str, bool] = Field(description="Whether the last call to each worked.")
    stalled: StallAnswer | None = Field(description="Null while coverage goes on, or nothing waits.")


class RejectedRecord(BaseModel):
    """A record that was refused, and why."""

    key: str | None = Field(description="The record's key, its first 300 characters; null without one.")
    reason: str = Field(description="A stable code.")
    detail: str
    size_bytes: int | None = Field(description="Of the value as the rejected topic keeps it; null of a null value.")
    source: Source = Field(description="Where the record stood; the time is that of its refusal.")


class RejectedAnswer(BaseModel):
    """The records that were refused last, newest first."""

    rejected: list[RejectedRecord]
    degraded: Annotated[list[str], Field(description="`rejected` while Kafka is away: newer ones may be missing.")]


class Health(BaseModel):
    """Whether searches can be answered, and what each dependency's last call came to."""

    ready: bool
    generation: int | None
    dependencies: dict[str, bool]
    degraded: list[str] = Field(
        description="Parts that are away or let coverage stand still; searches are answered without."
    )
    stalled: StallAnswer | None


ImageId = Annotated[
    str,
    Field(
        min_length=1,
        description=f"Any text of 1 to {ID_SIZE_BYTES_MAX} bytes of UTF-8 without control characters.",
        examples=["mnist/train/00001"],
    ),
]


def coverage_of(manifest: Manifest, ends: Ends | None) -> Coverage:
    """What an answer from this generation covers."""
    is_known = ends is not None and ends.log == manifest.log
    return Coverage(
        index_id=manifest.index_id,
        generation=manifest.generation,
        log=manifest.log,
        offsets=manifest.offsets,
        end_offsets={str(p): end for p, end in ends.offsets.items()} if is_known and ends else None,
        count=manifest.count,
        encoder=manifest.encoder,
        digest=manifest.digest,
        set_aside=sum(manifest.set_aside.values()),
    )


def not_shown_of(manifest: Manifest, image_id: str) -> NotShownRecord | None:
    """The id's newest record when it is set aside, None otherwise."""
    found = manifest.not_shown.get(image_id)
    if found is None:
        return None
    number, _, partition, offset, _ = found.position
    return NotShownRecord(log=manifest.logs[number].log, partition=partition, offset=offset, reason=found.reason)


def source_of(key: RecordKey, kafka_time_ms: int) -> Source:
    """A record's place and time."""
    return Source(log=key.log, partition=key.partition, offset=key.offset, timestamp=kafka_time_ms)


def record_text(key: RecordKey) -> str:
    """A record's place as the parameter `at` takes it."""
    return f"{key.log}:{key.partition}:{key.offset}"


@lru_cache(maxsize=65536)
def image_url(image_id: str, key: RecordKey, what: str) -> str:
    """Address of an image's thumbnail, original or timeline, of that very record."""
    return f"/v1/images/{what}?{urlencode({'id': image_id, 'at': record_text(key)})}"
