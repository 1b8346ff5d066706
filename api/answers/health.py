"""Whether searches can be answered."""

from pydantic import BaseModel, Field

from api.answers.index import StallAnswer


class Health(BaseModel):
    """Whether searches can be answered, and what each dependency's last call came to."""

    ready: bool
    generation: int | None
    dependencies: dict[str, bool]
    degraded: list[str] = Field(
        description="Parts that are away or let coverage stand still; searches are answered without."
    )
    stalled: StallAnswer | None
