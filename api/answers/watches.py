"""Standing queries and what matched them, as requests ask for them and as answers tell."""

import json
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from api.answers.problems import ProblemError
from api.answers.questions import ByEmbedding, ById
from api.answers.records import Source
from gallery.store.watches import StoredWatch
from runtime.outbound import masked_address
from topics.matches import NumberedMatch

NAME_MAX = 200
WEBHOOK_MAX = 2000

MaxReach = Annotated[float, Field(ge=0, allow_inf_nan=False, description="An image matches that is no farther away.")]
WatchName = Annotated[str, Field(max_length=NAME_MAX, description="What people call it.")]
Webhook = Annotated[
    str,
    Field(
        max_length=WEBHOOK_MAX,
        description="An http or https address that every match is posted to, signed with the secret; none without it.",
    ),
]


class NewWatch(BaseModel):
    """A standing query of an id or an embedding; one of an image is sent as the image, with the rest as parameters."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image_id: str | None = None
    embedding: list[float] | None = None
    encoder: str = ""
    max_distance: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=False)]
    filter: dict[str, Any] | None = Field(
        default=None, description="Only images whose metadata it holds for, in the form that searches take."
    )
    name: WatchName = ""
    webhook: Webhook = ""

    def question(self) -> ById | ByEmbedding:
        """What is asked.

        Raises:
            ProblemError: 400 ``bad-query``.
            ValidationError: 400 of what is given.
        """
        if (self.image_id is None) == (self.embedding is None):
            raise ProblemError(
                400, "bad-query", "A watch must have either image_id or embedding, or be sent with an image."
            )
        if self.image_id is not None:
            return ById(image_id=self.image_id)
        return ByEmbedding(embedding=self.embedding or [], encoder=self.encoder)


class WatchAnswer(BaseModel):
    """A standing query."""

    id: str
    name: str
    max_distance: float
    filter: dict[str, Any] | None = Field(description="Null without one.")
    webhook: str | None = Field(
        description="Null without one. Whole where a watch is created; elsewhere its host alone, as the rest may be a secret."
    )
    has_image: bool = Field(description="Whether it was made of an image, which `GET /v1/watches/{id}/image` gives.")
    encoder: str = Field(description="Fingerprint of the encoder that made its embedding.")
    start: dict[str, int] = Field(description="By partition, the first offset that counts.")
    created_at: int = Field(description="Milliseconds since 1970.")
    is_watched: bool = Field(
        description="Whether the watcher has taken it up. What comes before that is told then, so nothing is missed."
    )


class CreatedWatch(WatchAnswer):
    """A standing query that was created, and what its webhook's signatures are made with: told this once."""

    secret: str


class WatchesAnswer(BaseModel):
    """All standing queries, oldest first."""

    watches: list[WatchAnswer]


class MatchAnswer(BaseModel):
    """An image that matched a watch."""

    id: str = Field(description="Of this match: the same whenever it is told again.")
    watch: str
    name: str
    collection: str
    image: str = Field(description="The image's id.")
    distance: float
    source: Source
    verdict: str | None = Field(
        description="As a search with `explain` gives it; null where the watch has no image, or it could not be had."
    )
    created_at: int = Field(description="When it was found, milliseconds since 1970.")


class MatchesAnswer(BaseModel):
    """What matched a watch last, newest first."""

    matches: list[MatchAnswer]
    next: int = Field(description="What `after` of the events takes, to go on from here.")
    degraded: Annotated[list[str], Field(description="`matches` while Kafka is away: newer ones may be missing.")]


def created_answer(watch: StoredWatch) -> CreatedWatch:
    """What whoever creates a watch is told, whole."""
    told = watch_answer(watch).model_dump() | {"webhook": watch.webhook or None}
    return CreatedWatch(**told, secret=watch.secret)


def watch_answer(watch: StoredWatch) -> WatchAnswer:
    """What is told of a watch; never its secret, nor what may be one."""
    return WatchAnswer(
        id=watch.id,
        name=watch.name,
        max_distance=watch.max_distance,
        filter=json.loads(watch.filter) if watch.filter else None,
        webhook=masked_address(watch.webhook) if watch.webhook else None,
        has_image=watch.image is not None,
        encoder=watch.encoder,
        start=dict(watch.start.offsets),
        created_at=watch.created_at_ms,
        is_watched=watch.told_from is not None,
    )


def match_answer(numbered: NumberedMatch) -> MatchAnswer:
    """A match as answers and events tell it."""
    match = numbered.match
    source = match.source
    return MatchAnswer(
        id=match.id,
        watch=match.watch,
        name=match.name,
        collection=match.collection,
        image=match.image,
        distance=match.distance,
        source=Source(log=source.log, partition=source.partition, offset=source.offset, timestamp=source.timestamp),
        verdict=match.verdict,
        created_at=match.created_at,
    )


def check_webhook(address: str) -> str:
    """Return the address unchanged if matches may be posted there as far as its text tells; "" is none.

    Raises:
        ProblemError: 400 ``bad-webhook``.
    """
    if not address:
        return address
    try:
        parts = urlsplit(address)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_sound = False
    if (
        not is_sound
        or parts.username is not None
        or not address.isascii()
        or not address.isprintable()
        or " " in address
    ):
        raise ProblemError(
            400,
            "bad-webhook",
            f"webhook is {masked_address(address)}. Expected an http or https address in ASCII without a user's name or password.",
        )
    return address
