"""Entries of a tail file: read so that writing them gives the same bytes again, or refused."""

import io

import numpy as np

from contract.errors import IndexDamagedError
from gallery.generations.base import empty_base
from gallery.generations.fold import Entry, Position
from gallery.generations.tail import Tail, TailEntry, encode_entries, read_entries

SIZE_BYTES_MAX = 4096
DIMENSIONS = 8
_BASE = empty_base(DIMENSIONS)


def corpus() -> list[bytes]:
    """Puts with and without metadata, deletions, late ones, one id again and again; numbers that are not finite."""
    one, small, bad = (np.full(DIMENSIONS, number, "<f4").tobytes() for number in (1, 1e-20, np.inf))
    position = Position(1000, 0, 0, 0, 1)
    entries = [
        Entry("a", position, one, "", False),
        Entry("ä/1", position, small, '{"label":7,"ä":[1,null]}', False),
        Entry("a", position, None, "", False),
        Entry("a", position, one, "{}", True),
        Entry("😀", position, None, "", True),
    ]
    wholes = [entries, entries[:1], entries[2:3], entries * 3, [Entry("bad", position, bad, "", False)]]
    return [encode_entries(TailEntry(entry, -1) for entry in each) for each in wholes]


def attempt(value: bytes) -> None:
    """Read it, and take the entries into a tail over nothing."""
    try:
        entries = list(read_entries(io.BytesIO(value), len(value), DIMENSIONS))
    except IndexDamagedError:
        return
    assert encode_entries(entries) == value
    tail = Tail(_BASE)
    try:
        tail.append(entries)
    except IndexDamagedError:
        assert tail.count_of_entries == 0
        return
    assert tail.count_of_entries == len(entries)
    last = {each.entry.image_id: each.entry for each in entries if not each.entry.is_late}
    live = {tail.entry(number).image_id for number in np.flatnonzero(tail.is_live[: len(entries)]).tolist()}
    assert live <= {each.entry.image_id for each in entries if each.entry.embedding is not None}
    assert {image_id for image_id, entry in last.items() if entry.embedding is not None} == live
