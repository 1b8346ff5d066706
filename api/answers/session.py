"""What a key is good for, as its owner is told."""

from pydantic import BaseModel, Field


class SessionAnswer(BaseModel):
    """The key that a request was sent with."""

    key: str | None = Field(description="Its id; null where no key is needed.")
    name: str | None = Field(description="What it is called; null where no key is needed.")
    scopes: list[str] = Field(description="What it may do: `search`, `publish`, `admin`.")
    collections: list[str] | None = Field(description="The only collections that it is for; null for all.")
