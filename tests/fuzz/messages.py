"""Keys, metadata and the headers of rejected records: read as what they say, or refused with a reason of their own."""

import json
import unicodedata

from contract.errors import RejectedError
from contract.messages import (
    METADATA_SIZE_BYTES_MAX,
    REJECTION_HEADER_PREFIX,
    Headers,
    Rejection,
    image_id_of,
    metadata_of,
)
from contract.record_key import RecordKey
from gallery.generations.flattened import flattened, is_metadata, metadata_checksum

SIZE_BYTES_MAX = 20_000
# Between a key, metadata, and the values of a rejected record's headers.
BETWEEN = b"\0|\0"


def corpus() -> list[bytes]:
    """Good and bad keys, good and bad metadata, each with a rejected record's headers."""
    keys = [b"a/b", "ä🦊".encode(), b"k" * 256, b"", b"k" * 257, b"a\nb", "a\x85".encode(), b"\xed\xa0\xbd", b"\xe9"]
    nested = [b'{"a":' * depth + b"1" + b"}" * depth for depth in (2, 64, 65)]
    metadata = [
        '{"label": 7, "tags": ["a", null, true], "b.c": {"": -0.0, "ä": 1e300}}'.encode(),
        '{"ä": "ü", "\\u00e4": "\\ud83d\\ude00"}'.encode(),
        b'{"a": 1, "a": 2, "n": 123456789012345678901234567890}',
        *nested,
        *(b"{", b"[1]", b"null", b"", b'{"a": NaN}', b'{"a": 1e999}', b'{"a": "\\ud83d"}', b'{"a": "\xe9"}'),
        '{"a": 1}'.encode("utf-16"),
    ]
    rejection = Rejection(reason="corrupt", detail="ä", topic="t", key=RecordKey("t:x", 1, 2))
    values = [value for _, value in rejection.headers()]
    pairs = [*((key, b"{}") for key in keys), *((b"a", each) for each in metadata)]
    return [BETWEEN.join((*pair, *values)) for pair in pairs]


def attempt(value: bytes) -> None:
    """Read all of it."""
    key, _, rest = value.partition(BETWEEN)
    metadata, *values = rest.split(BETWEEN)
    _check_key(key)
    _check_metadata(metadata)
    names = ("reason", "detail", "topic", *RecordKey._fields)
    _check_rejection([(f"{REJECTION_HEADER_PREFIX}{name}", each) for name, each in zip(names, values, strict=False)])


def _check_key(key: bytes) -> None:
    try:
        found = image_id_of(key, b"value")
    except RejectedError as error:
        assert error.reason == "bad-key", error
        return
    assert found.encode() == key and 1 <= len(key) <= 256
    assert not any(unicodedata.category(sign) == "Cc" for sign in found)


def _check_metadata(metadata: bytes) -> None:
    try:
        found = metadata_of([("metadata", metadata)])
    except RejectedError as error:
        assert error.reason == "bad-metadata", error
        return
    assert len(metadata) <= METADATA_SIZE_BYTES_MAX
    said = json.loads(metadata)
    assert isinstance(said, dict) and json.loads(found) == said
    assert is_metadata(found)
    again = json.dumps(said, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert again == found
    # The order of names means nothing.
    turned = json.dumps(dict(reversed(said.items())), ensure_ascii=False)
    assert flattened(turned) == flattened(found) and metadata_checksum(turned) == metadata_checksum(found)


def _check_rejection(headers: Headers) -> None:
    try:
        found = Rejection.from_headers(headers)
    except ValueError:
        return
    told = Rejection.from_headers(found.headers())
    assert (told.reason, told.topic, told.key) == (found.reason, found.topic, found.key)
    assert told.detail == found.detail[:1000]
