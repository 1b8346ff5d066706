"""Metadata as values at keys: `{"camera": {"lens": 50}, "tags": ["a", "b"]}` is 50 at `camera.lens`, and "a" and "b" at `tags[]`.

A key is the path to a value. A name stands in it as it is, or as a JSON string where it is empty or holds `.`, `[`, `]` or `"`;
`[]` follows what is an array. Objects and arrays without values are no values.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator

# What a filter can name, and an array there. Longer keys would let 16 KiB of metadata grow to many MB of keys.
METADATA_KEY_SIZE_BYTES_MAX = 256
_KEPT_SIZE_BYTES_MAX = METADATA_KEY_SIZE_BYTES_MAX + len("[]")

_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode
_SPECIAL = frozenset('."[]')
_STEP = re.compile(r'("(?:[^"\\]|\\.)*"|[^."\[\]]+)((?:\[\])*)(\.|$)', re.DOTALL)


def flattened(metadata: str) -> set[tuple[str, str]]:
    """Each key and value of metadata that `is_metadata`; a value is a scalar's JSON text, such as `"red"`, `50` or `null`."""
    return set(_values(json.loads(metadata), "")) if metadata else set()


def metadata_checksum(metadata: str) -> int:
    """64 bits that differ, but for chance, where keys and values do: the sum of those of each, so that the order means nothing."""
    pairs = flattened(metadata)
    return sum(value_checksum(key.encode(), value.encode()) for key, value in pairs) % 2**64


def value_checksum(key: bytes, value: bytes) -> int:
    """Its part in `metadata_checksum`."""
    return int.from_bytes(hashlib.blake2b(key + b"\0" + value, digest_size=8).digest(), "little")


def key_name(name: str) -> str:
    """An object's name as it stands in a key."""
    return _ENCODE(name) if not name or not _SPECIAL.isdisjoint(name) else name


def key_of(text: str) -> str:
    """A key as it is stored, of one that a person wrote: names may stand as JSON strings where they need not.

    Raises:
        ValueError: it is no key.
    """
    steps, at = [], 0
    while step := _STEP.match(text, at):
        name, brackets, dot = step.groups()
        steps.append(key_name(json.loads(name) if name[0] == '"' else name) + brackets)
        at = step.end()
        if not dot:
            return ".".join(steps)
    raise ValueError(f"it cannot be read from character {at} on")


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
    if len(key) > _KEPT_SIZE_BYTES_MAX:
        return
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, f"{key}.{key_name(name)}" if key else key_name(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _values(inner, f"{key}[]")
    elif len(key.encode()) <= _KEPT_SIZE_BYTES_MAX:
        yield key, _ENCODE(value)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
