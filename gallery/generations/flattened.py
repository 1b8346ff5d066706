"""Metadata as values at keys: `{"camera": {"lens": 50}, "tags": ["a", "b"]}` is 50 at `camera.lens`, and "a" and "b" at `tags[]`.

A key is the path to a value. A name stands in it as it is, or as a JSON string where it is empty or holds `.`, `[`, `]` or `"`;
`[]` follows what is an array. Objects and arrays without values are no values.
"""

import json
import math
from collections.abc import Iterator

# What a filter can name. A longer key would let 16 KiB of metadata grow to many MB of keys.
METADATA_KEY_SIZE_BYTES_MAX = 256

_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_SPECIAL = frozenset('."[]')


def flattened(metadata: str) -> set[tuple[str, str]]:
    """Each key and value of metadata that `is_metadata`; a value is a scalar's JSON text, such as `"red"`, `50` or `null`."""
    return set(_values(json.loads(metadata), "")) if metadata else set()


def key_name(name: str) -> str:
    """An object's name as it stands in a key."""
    return _ENCODE(name) if not name or not _SPECIAL.isdisjoint(name) else name


def number_of(text: str) -> float:
    """The number that a value's JSON text means, the nearest float64 of it; not a number for anything else."""
    if text[0] not in "-0123456789":
        return math.nan
    try:
        return float(json.loads(text))
    except OverflowError:
        return math.inf if text[0] != "-" else -math.inf


def is_metadata(metadata: str) -> bool:
    """Whether this is "" or the text of a JSON object in Unicode, as an embedder writes it."""
    if not metadata:
        return True
    try:
        metadata.encode()
        found = json.loads(metadata, parse_constant=_refuse)
        if "\\u" in metadata:  # which may name half of a character
            _ENCODE(found).encode()
        return isinstance(found, dict)
    except (ValueError, RecursionError):
        return False


def _values(value: object, key: str) -> Iterator[tuple[str, str]]:
    if len(key) > METADATA_KEY_SIZE_BYTES_MAX:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, f"{key}.{key_name(name)}" if key else key_name(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, f"{key}[]")
    elif len(key.encode()) <= METADATA_KEY_SIZE_BYTES_MAX:
        yield key, _ENCODE(value)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
