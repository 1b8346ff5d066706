"""What answers say of the Kafka record that brought an image. Times are milliseconds since 1970, as Kafka counts them."""

from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from pydantic import BaseModel, Field

from contract.collections import DEFAULT_COLLECTION
from contract.messages import ID_SIZE_BYTES_MAX
from contract.record_key import RecordKey
from gallery.generations.manifest import Manifest
from gallery.store.rows import ImageRecord

# The path below which a proxy serves us, which every link begins with: of the request that is answered.
ROOT_PATH: ContextVar[str] = ContextVar("root_path", default="")

ImageId = Annotated[
    str,
    Field(
        min_length=1,
        description=f"Any text of 1 to {ID_SIZE_BYTES_MAX} bytes of UTF-8 without control characters.",
        examples=["mnist/train/00001"],
    ),
]
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


@dataclass(slots=True)
class Source:
    """The Kafka record that brought an image."""

    log: Annotated[str, Field(description="The topic's name and id.")]
    partition: int
    offset: int
    timestamp: Annotated[int, Field(description="Kafka's time of the record.")]


class NotShownRecord(BaseModel):
    """The newest record of an id, when its stored row cannot be used."""

    log: str
    partition: int
    offset: int
    reason: str = Field(description="A stable code.")


def source_of(key: RecordKey, kafka_time_ms: int) -> Source:
    """A record's place and time."""
    return Source(log=key.log, partition=key.partition, offset=key.offset, timestamp=kafka_time_ms)


def record_text(key: RecordKey) -> str:
    """A record's place as the parameter `at` takes it."""
    return f"{key.log}:{key.partition}:{key.offset}"


def image_url(collection: str, image_id: str, key: RecordKey, what: str, as_of: str = "") -> str:
    """Address of an image's thumbnail, original or timeline in a collection, of that very record.

    Args:
        as_of: the earlier time at which the id meant it, "" for now.
    """
    return f"{ROOT_PATH.get()}{_image_path(collection, image_id, key, what, as_of)}"


@lru_cache(maxsize=4096)
def _image_path(collection: str, image_id: str, key: RecordKey, what: str, as_of: str) -> str:
    below = "/v1" if collection == DEFAULT_COLLECTION else f"/v1/collections/{collection}"
    query = {"id": image_id, "at": record_text(key), **({"as_of": as_of} if as_of else {})}
    return f"{below}/images/{what}?{urlencode(query)}"


def not_shown_of(manifest: Manifest, image_id: str) -> NotShownRecord | None:
    """The id's newest record when it is set aside, None otherwise."""
    found = manifest.not_shown.get(image_id)
    if found is None:
        return None
    number, _, partition, offset, _ = found.position
    return NotShownRecord(log=manifest.logs[number].log, partition=partition, offset=offset, reason=found.reason)


def metadata_object(record: ImageRecord | None) -> dict[str, Any] | None:
    """A record's metadata as an object: {} without any, None while the record is unknown."""
    if record is None:
        return None
    parsed: dict[str, Any] = msgspec.json.decode(record.metadata) if record.metadata else {}
    return parsed
