"""Bytes changed at random, as disks, networks and people who mean harm change them."""

import random
from collections.abc import Callable, Sequence

# Numbers that sizes, counts and offsets are compared with.
_EDGES = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"\1\0",
]


def mutated(value: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """The value with one to four changes; some take a piece of one of the others."""
    for _ in range(chance.randint(1, 4)):
        value = chance.choice(_WAYS)(value or b"\0", chance.choice(others) or b"\0", chance)
    return value


def _place(value: bytes, chance: random.Random) -> int:
    """Half of them near the start, where formats say what follows."""
    return chance.randrange(min(len(value), 256) if chance.random() < 0.5 else len(value))


def _flip_bits(value: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(value)
    for _ in range(chance.choice([1, 2, 8, 64])):
        changed[_place(value, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _put_edge(value: bytes, other: bytes, chance: random.Random) -> bytes:
    at, edge = _place(value, chance), chance.choice(_EDGES)
    return value[:at] + edge + value[at + len(edge) :]


def _cut(value: bytes, other: bytes, chance: random.Random) -> bytes:
    return value[: chance.randrange(len(value))]


def _leave_out(value: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(value, chance)
    return value[:at] + value[at + chance.randint(1, 64) :]


def _repeat(value: bytes, other: bytes, chance: random.Random) -> bytes:
    at = _place(value, chance)
    piece = value[at : at + chance.randint(1, 64)]
    return value[:at] + piece * chance.choice([2, 3, 50]) + value[at + len(piece) :]


def _zero(value: bytes, other: bytes, chance: random.Random) -> bytes:
    at, size = _place(value, chance), chance.choice([1, 16, 512])
    return value[:at] + bytes(len(value[at : at + size])) + value[at + size :]


def _splice(value: bytes, other: bytes, chance: random.Random) -> bytes:
    return value[: _place(value, chance)] + other[_place(other, chance) :]


def _overwrite(value: bytes, other: bytes, chance: random.Random) -> bytes:
    at, start = _place(value, chance), _place(other, chance)
    piece = other[start : start + chance.choice([4, 32, 1024])]
    return value[:at] + piece + value[at + len(piece) :]


_WAYS: list[Callable[[bytes, bytes, random.Random], bytes]] = [
    _flip_bits, _put_edge, _cut, _leave_out, _repeat, _zero, _splice, _overwrite,
]  # fmt: skip
