"""What the records of a topic mean, worked out anew for each question: no state is carried from one to the next.

A record of an id wins over another one that has the smaller (effective time, partition, offset), where the effective time is the
running maximum of Kafka's times in the partition. Among records that count, an id means the one that wins; a delete means none.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.history.filters import holds
from tests.history.held import HeldRecord
from tests.history.journal import Query, Send

Embedding = NDArray[np.float32]
Place = tuple[int, int]
_STATES_KEPT = 8


class Said(NamedTuple):
    """A record that counts: a put with its embedding, or a delete."""

    image_id: str
    partition: int
    offset: int
    time_ms: int
    effective_ms: int
    metadata: Mapping[str, Any]
    is_put: bool


class Truth:
    """All records that must count, in the order in which they win.

    Args:
        records: of the topic, in the order of their places.
        sends: what each of them was sent as, by its place; what is ``bad`` does not count.
        embed: the embedding of an encoded image.
    """

    def __init__(
        self, records: list[HeldRecord], sends: Mapping[Place, Send], embed: Callable[[bytes], Embedding]
    ) -> None:
        self._embed = embed
        self._known: dict[str, Embedding] = {}
        said: list[tuple[Said, Embedding | None]] = []
        effective: dict[int, int] = {}
        for record in records:
            time_ms = effective[record.partition] = max(record.time_ms, effective.get(record.partition, 0))
            send = sends.get(record[:2])
            if send is None or send.kind == "bad":
                continue
            is_put = record.value is not None
            embedding = self.embedding(record.value) if record.value is not None else None
            place = record.partition, record.offset, record.time_ms, time_ms
            said.append((Said(send.image_id, *place, send.metadata, is_put), embedding))
        said.sort(key=lambda each: (each[0].image_id.encode(), each[0].effective_ms, *each[0][1:3]))
        self.said = [each for each, _ in said]
        self.places = {(each.partition, each.offset): number for number, each in enumerate(self.said)}
        self.of_id: dict[str, list[int]] = {}
        for number, each in enumerate(self.said):
            self.of_id.setdefault(each.image_id, []).append(number)
        dimensions = next((len(each) for _, each in said if each is not None), 1)
        self.embeddings = np.array(
            [np.zeros(dimensions) if each is None else each.astype(np.float64) for _, each in said], np.float64
        ).reshape(len(said), dimensions)
        self._partitions, self._offsets, self._effective = (
            np.array([each[field] for each in self.said], np.int64) for field in (1, 2, 4)
        )
        self._is_put = np.array([each.is_put for each in self.said], np.bool_)
        self._ids = np.array([n for n, numbers in enumerate(self.of_id.values()) for _ in numbers], np.int64)
        self._states: dict[object, NDArray[np.int64]] = {}

    def embedding(self, value: bytes) -> Embedding:
        """Of an encoded image; each is embedded once."""
        name = hashlib.sha256(value).hexdigest()
        if name not in self._known:
            self._known[name] = self._embed(value)
        return self._known[name]

    def below(self, offsets: Mapping[str, int]) -> NDArray[np.int64]:
        """Numbers of the records that ids mean when those below these offsets count, one for each image that can be found."""
        key = tuple(sorted(offsets.items()))
        if key not in self._states:
            ends = np.zeros(max((int(each) for each in offsets), default=0) + 2, np.int64)
            for partition, offset in offsets.items():
                ends[int(partition)] = offset
            end = ends[np.minimum(self._partitions, len(ends) - 1)]
            self._keep(key, self._meant(self._offsets < end))
        return self._states[key]

    def at_time(self, text: str) -> NDArray[np.int64]:
        """The same when those count whose effective time is not after a time (RFC 3339)."""
        return self._meant(self._effective <= time_ms_of(text))

    def included(self, text: str) -> dict[Place, bool]:
        """Of every record, whether its effective time is not after a time."""
        is_in = (self._effective <= time_ms_of(text)).tolist()
        return {(each.partition, each.offset): found for each, found in zip(self.said, is_in, strict=True)}

    def held_for(self, numbers: NDArray[np.int64], asked: Mapping[str, Any] | None) -> NDArray[np.int64]:
        """Those of some records for which a filter holds."""
        if asked is None:
            return numbers
        return np.array(
            [n for n in numbers.tolist() if holds(asked, self.said[n].image_id, self.said[n].metadata)], np.int64
        )

    def query(self, query: Query, numbers: NDArray[np.int64]) -> Embedding | None:
        """The embedding that is searched for; None when it is of an id that is not among these records."""
        if query.image is not None:
            return self.embedding(query.image)
        if query.embedding is not None:
            return np.array(query.embedding, np.float32)
        found = [n for n in numbers.tolist() if self.said[n].image_id == query.image_id]
        return self.embeddings[found[0]].astype(np.float32) if found else None

    def distances(self, query: Embedding, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Euclidean, in float64."""
        found: NDArray[np.float64] = np.sqrt(((self.embeddings[numbers] - query.astype(np.float64)) ** 2).sum(1))
        return found

    def _meant(self, counts: NDArray[np.bool_]) -> NDArray[np.int64]:
        numbers = np.flatnonzero(counts)
        is_last = np.append(np.diff(self._ids[numbers]) != 0, True)[: len(numbers)]
        last: NDArray[np.int64] = numbers[is_last]
        found: NDArray[np.int64] = last[self._is_put[last]]
        return found

    def _keep(self, key: object, state: NDArray[np.int64]) -> None:
        while len(self._states) >= _STATES_KEPT:
            del self._states[next(iter(self._states))]
        self._states[key] = state


def time_ms_of(text: str) -> int:
    """Milliseconds since 1970 of a time as RFC 3339 writes it."""
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
