"""Records that were refused."""

from typing import Annotated

from pydantic import BaseModel, Field

from api.answers.records import Source


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
