"""Collections: what there are, and what was made or dropped."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.settings import Engine

CollectionState = Literal["serving", "empty", "waiting", "dropping"]


class CollectionAnswer(BaseModel):
    """One collection."""

    name: str
    encoder: str = Field(description="Name of the encoder that answers.")
    partitions: int = Field(description="Of its topic, as far as Kafka has said, else those that it is created with.")
    topic: str = Field(description="What is published to it.")
    engine: Engine = Field(description="What answers: `exact`, an index in memory, or `cassandra`, its vector index.")
    created_at: int | None = Field(description="Milliseconds since 1970; null of `default`, which is always there.")
    state: CollectionState = Field(
        description=(
            "`serving`: images can be found; `empty`: it is indexed, and there are none; `waiting`: no indexer has published a "
            "generation yet; `dropping`: it is being dropped, and answers no longer."
        )
    )
    count: int | None = Field(description="Images that can be found; null while there is no generation.")
    generation: int | None = Field(description="The one that answers; null while there is none.")


class CollectionsAnswer(BaseModel):
    """All collections, in the order of their names."""

    collections: list[CollectionAnswer]


class NewCollection(BaseModel):
    """What is wanted of a new collection."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[
        str, Field(max_length=1000, description="A small letter, then up to 62 small letters, digits and hyphens.")
    ]
    encoder: Annotated[str, Field(max_length=1000, description="One of this installation's, such as `photo`.")]
    partitions: Annotated[
        int | None, Field(ge=1, le=10_000, description="Of its topic; without it LOOKALIKE_KAFKA_PARTITIONS.")
    ] = None
    engine: Annotated[
        Engine,
        Field(
            description="`exact`, an index in the memory of each machine that answers, or `cassandra`, whose vector index finds nearly all, "
            "for what memory cannot hold."
        ),
    ] = "exact"
