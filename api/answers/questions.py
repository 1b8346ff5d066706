"""What a search asks: an image, an id of the gallery, or an embedding; and how it is to be answered."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from api.answers.as_of import AskedAsOf
from api.answers.efforts import Effort, effort_needs_image
from api.answers.explanations import explain_needs_image
from api.answers.ordering import Sort
from api.answers.problems import ProblemError
from api.answers.queries import LARGE_QUERY_SIZE_BYTES
from api.answers.records import ImageId
from contract.embeddings import DIMENSIONS_MAX
from gallery.filters import Filter

COSTLY_MATCHES_MAX = 100


class ById(BaseModel):
    """Search with the embedding of an image in the gallery."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image_id: ImageId


class ByEmbedding(BaseModel):
    """Search with an embedding; with `encoder`, only among embeddings of that one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    embedding: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False, ge=-3.4e38, le=3.4e38)]],
        Field(min_length=1, max_length=DIMENSIONS_MAX, description="As many numbers as the encoder's dimensions."),
    ]
    encoder: Annotated[str, Field(description="The encoder's fingerprint, as `coverage.encoder` gives it.")] = ""

    def check_encoder(self, answering: str, dimensions: int) -> None:
        """Check that the encoder that answers could have made the embedding.

        Raises:
            ProblemError: 409 ``other-encoder``; 400 ``bad-embedding`` when it has not as many numbers as `dimensions`.
        """
        if self.encoder not in ("", answering):
            raise ProblemError(
                409,
                "other-encoder",
                f"The embedding is of encoder {self.encoder[:64]}, answers come from {answering} now: their distances would "
                "mean nothing. Embed anew, or search with the image.",
            )
        if len(self.embedding) != dimensions:
            raise ProblemError(
                400, "bad-embedding", f"embedding: {len(self.embedding)} numbers. Expected {dimensions} finite numbers."
            )


# An image is its bytes.
Question = bytes | ById | ByEmbedding


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a question is to be answered; `api.routes.parameters` says what each of these means."""

    k: int
    max_distance: float | None = None
    explain: bool = False
    sort: Sort = "best"
    effort: Effort = "normal"
    as_of: AskedAsOf | None = None
    filter: Filter | None = None
    offset: int = 0
    fields: frozenset[str] | None = None

    def check(self, question: Question) -> None:
        """Check that the question has the pixels that its answer needs.

        Raises:
            ProblemError: 400 ``explain-needs-image``, ``effort-needs-image`` or ``too-many-matches``.
        """
        if max(self.k * self.explain, (self.k + self.offset) * (self.effort == "thorough")) > COSTLY_MATCHES_MAX:
            raise ProblemError(
                400,
                "too-many-matches",
                f"k={self.k} from offset {self.offset} on costs too much with explain or effort=thorough: at most "
                f"{COSTLY_MATCHES_MAX} matches are explained, and the first {COSTLY_MATCHES_MAX} found thoroughly. Ask for fewer.",
            )
        if self.explain and isinstance(question, ByEmbedding):
            raise explain_needs_image()
        if self.effort == "thorough" and not isinstance(question, bytes):
            raise effort_needs_image()


def asked_together(questions: Sequence[Question], count_max: int) -> Iterator[list[Question]]:
    """The questions in order, in parts that are asked at once. A large image is asked alone, or a batch would be in its own way."""
    part: list[Question] = []
    for question in questions:
        is_large = isinstance(question, bytes) and len(question) > LARGE_QUERY_SIZE_BYTES
        if part and (is_large or len(part) == count_max):
            yield part
            part = []
        part.append(question)
        if is_large:
            yield part
            part = []
    if part:
        yield part
