"""What of metadata Cassandra can be asked for: a number for each key and value, so that a table needs one index for all keys.

Equal numbers are a hint only: whoever finds a row by its facts asks the filter itself of the row's metadata.
"""

import json
import math
from collections.abc import Iterator

from gallery.generations.flattened import flattened, number_of, value_checksum

_ELEMENTS = "[]"


def facts_of(metadata: str) -> frozenset[int]:
    """The facts of metadata that `gallery.generations.flattened.is_metadata`."""
    return frozenset(_fact(name, text) for key, text in flattened(metadata) for name in _asked_as(key))


def fact_of(key: str, value: str | bool | int | float) -> int:
    """The fact that every image has whose metadata have this value at the key."""
    return _fact(key, json.dumps(value, ensure_ascii=False))


def _asked_as(key: str) -> Iterator[str]:
    """The keys by which a filter finds what stands at a key: elements of an array are found by the array's too."""
    yield key
    if key.endswith(_ELEMENTS):
        yield key.removesuffix(_ELEMENTS)


def _fact(key: str, text: str) -> int:
    """Numbers are equal by value, so it is the nearest float64 of one that counts."""
    number = number_of(text)
    value = text if math.isnan(number) else repr(number + 0.0)
    return value_checksum(key.encode(), value.encode()) - 2**63
