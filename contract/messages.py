"""What a Kafka record means: image id, metadata, signature, and the headers of a rejected record."""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract.errors import RejectedError
from contract.formats import FORMATS, media_type_of
from contract.record_key import RecordKey

IMAGE_SIZE_BYTES_MAX = 32 * 1024 * 1024
IMAGE_PIXELS_MAX = 50_000_000
MESSAGE_SIZE_BYTES_MAX = 36 * 1024 * 1024
ID_SIZE_BYTES_MAX = 256
METADATA_SIZE_BYTES_MAX = 16 * 1024
# Far below what any JSON library can read and write, ours and those of who asks.
METADATA_DEPTH_MAX = 64
INLINE_ORIGINAL_SIZE_BYTES_MAX = 16 * 1024
REJECTION_HEADER_PREFIX = "lookalike-"

Headers = Sequence[tuple[str, bytes | None]]

_REJECTION_FIELDS = ("reason", "detail", "topic", *RecordKey._fields)


def check_image_id(image_id: str) -> str:
    """Return `image_id` unchanged if it may name an image.

    Raises:
        RejectedError: ``bad-key`` when it is empty, longer than 256 bytes of UTF-8, or holds a control character.
    """
    try:
        size = len(image_id.encode())
    except UnicodeEncodeError as error:
        raise RejectedError("bad-key", f"The image id is not valid Unicode: {error.reason}.") from error
    if not 1 <= size <= ID_SIZE_BYTES_MAX:
        raise RejectedError("bad-key", f"The image id has {size} bytes, expected 1 to {ID_SIZE_BYTES_MAX}.")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in image_id):
        raise RejectedError("bad-key", f"The image id {image_id!r} holds a control character.")
    return image_id


def image_id_of(key: bytes | None, value: bytes | None) -> str:
    """The id that a record speaks of: its key, or without one the SHA-256 of its value in hex.

    Raises:
        RejectedError: ``missing-key`` (null value without key) or ``bad-key``.
    """
    if key is None:
        if value is None:
            raise RejectedError("missing-key", "A null value deletes an image, but the record has no key to name it.")
        return hashlib.sha256(value).hexdigest()
    try:
        return check_image_id(key.decode())
    except UnicodeDecodeError as error:
        raise RejectedError("bad-key", f"The key is not UTF-8: {error.reason} at byte {error.start}.") from error


def metadata_of(headers: Headers) -> str:
    """The record's metadata as compact JSON text with sorted keys, "" without any.

    Raises:
        RejectedError: ``bad-metadata`` when it is too long, not UTF-8, not JSON, not an object, or nested too deep.
    """
    found = [value for name, value in headers if name == "metadata"]
    if not found:
        return ""
    if len(found) > 1:
        raise RejectedError("bad-metadata", f"The record has {len(found)} headers named metadata, expected one.")
    raw = found[0] or b""
    if len(raw) > METADATA_SIZE_BYTES_MAX:
        raise RejectedError("bad-metadata", f"metadata has {len(raw)} bytes, at most {METADATA_SIZE_BYTES_MAX}.")
    try:
        parsed = json.loads(raw.decode(), parse_constant=_refuse_constant)
        text = json.dumps(parsed, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise RejectedError("bad-metadata", f"metadata is not JSON in UTF-8: {error}.") from error
    if not isinstance(parsed, dict):
        raise RejectedError("bad-metadata", f"metadata is a JSON {type(parsed).__name__}, expected an object.")
    if _is_deeper(parsed, METADATA_DEPTH_MAX):
        raise RejectedError("bad-metadata", f"metadata is nested more than {METADATA_DEPTH_MAX} deep.")
    return text


def metadata_bytes(metadata: Mapping[str, object] | str) -> bytes:
    """A header `metadata` of an object, or of its JSON text; compact, with sorted keys.

    Raises:
        RejectedError: ``bad-metadata``, as of `metadata_of`.
    """
    try:
        text = (
            metadata if isinstance(metadata, str) else json.dumps(dict(metadata), ensure_ascii=False, allow_nan=False)
        )
        raw = text.encode()
    except (TypeError, ValueError) as error:
        raise RejectedError("bad-metadata", f"metadata cannot be written as JSON: {error}.") from error
    return metadata_of([("metadata", raw)]).encode()


def check_value(value: bytes) -> str:
    """Check an image's size and signature without decoding it and return its media type.

    Raises:
        RejectedError: ``empty``, ``too-large`` or ``unsupported-type``.
    """
    if not value:
        raise RejectedError("empty", "The value has no bytes; a delete is a null value, not an empty one.")
    if len(value) > IMAGE_SIZE_BYTES_MAX:
        raise RejectedError("too-large", f"The image has {len(value)} bytes, at most {IMAGE_SIZE_BYTES_MAX}.")
    media_type = media_type_of(value)
    if media_type is None:
        raise RejectedError(
            "unsupported-type",
            f"The value begins with {value[:12]!r}: it is no {FORMATS} picture. Save it as JPEG or PNG and publish that.",
        )
    return media_type


def log_of(topic: str, topic_id: uuid.UUID | str) -> str:
    """Name of one incarnation of a topic, from Kafka's id of it: a re-created topic has another id and so another log.

    The id is written as Kafka's own tools print it, in 22 characters.
    """
    raw = uuid.UUID(str(topic_id)).bytes
    return f"{topic}:{base64.urlsafe_b64encode(raw).decode().rstrip('=')}"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a record was refused, and which: `key` identifies a repeat."""

    reason: str
    detail: str
    topic: str
    key: RecordKey

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers that the rejected topic carries beside the original ones."""
        fields = {"reason": self.reason, "detail": self.detail[:1000], "topic": self.topic, **self.key._asdict()}
        return [
            (f"{REJECTION_HEADER_PREFIX}{name}", str(value).encode("utf-8", "replace"))
            for name, value in fields.items()
        ]

    @classmethod
    def from_headers(cls, headers: Headers) -> "Rejection":
        """Read them back.

        Raises:
            ValueError: a header is missing or malformed, so the record was not written by an embedder.
        """
        found = dict(headers)
        try:
            reason, detail, topic, log, partition, offset = (
                (found[f"{REJECTION_HEADER_PREFIX}{name}"] or b"").decode() for name in _REJECTION_FIELDS
            )
        except KeyError as error:
            raise ValueError(f"The record has no header {error.args[0]}.") from error
        return cls(reason=reason, detail=detail, topic=topic, key=RecordKey(log, int(partition), int(offset)))


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _is_deeper(value: object, depth_max: int) -> bool:
    """Whether objects and arrays are nested more than so deep."""
    inner = [value]
    for _ in range(depth_max):
        inner = [
            each
            for outer in inner
            if isinstance(outer, dict | list)
            for each in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(each, dict | list) for each in inner)
