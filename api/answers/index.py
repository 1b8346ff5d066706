"""The state of the index as one process serves it. Times are milliseconds since 1970, as Kafka counts them."""

from pydantic import BaseModel, Field

from api.answers.coverage import Coverage
from api.answers.records import Source
from contract.settings import Engine


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
    engine: Engine = Field(description="What answers: `exact`, an index in memory, or `cassandra`, its vector index.")
    recall: dict[str, float] | None = Field(
        description=(
            "By effort, which part of what searches should have found they found, over the last ones that were measured against all "
            "images; null of the engine `exact`, which finds all of it."
        )
    )
    recall_searches: dict[str, int] | None = Field(
        description="By effort, over how many measured searches `recall` is told; null as that is."
    )
    search_by_address: bool = Field(description="Whether a search may name the address of a picture.")
    refused: str = Field(description="Why a newer generation is not served; empty when the newest one is.")
    dependencies: dict[str, bool] = Field(description="Whether the last call to each worked.")
    stalled: StallAnswer | None = Field(description="Null while coverage goes on, or nothing waits.")
