"""What is sent and asked, all by chance from one seed: images, replacements, deletions, bad records; searches of every kind."""

import hashlib
import json
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from model import mnist
from model.encoder import load_encoder
from model.pictures.images import decode
from tests.history.journal import Coverage, Kind, Query
from tests.history.truth import Embedding

_CAMERAS: tuple[dict[str, Any], ...] = ({"lens": 35}, {"lens": 50}, {"lens": None}, {"lens": "50"}, {})
_TAGS = ("red", "round", "old", "ü")
_FILTERS: tuple[dict[str, Any], ...] = (
    {"must": [{"key": "label", "match": {"value": 7}}]},
    {"must": [{"key": "label", "range": {"gte": 3, "lt": 6}}]},
    {"should": [{"key": "tags", "match": {"value": "red"}}, {"key": "tags", "match": {"value": "ü"}}]},
    {"must_not": [{"key": "camera.lens", "match": {"any": [35, 50]}}]},
    {"must": [{"key": "camera.lens", "match": {"except": [35]}}, {"key": "label", "range": {"gt": 1.5}}]},
    {"must": [{"is_null": {"key": "camera.lens"}}]},
    {"must": [{"should": [{"has_id": ["image/1", "image/2", "ä/3"]}, {"key": "flag", "match": {"value": True}}]}]},
    {"must": [{"key": "label", "match": {"value": 1}}], "must_not": [{"key": "flag", "match": {"value": 1}}]},
)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A record to send, with what it must mean."""

    kind: Kind
    image_id: str
    key: bytes | None
    value: bytes | None
    metadata: dict[str, Any] = field(default_factory=dict)
    header: bytes | None = None
    reason: str = ""

    @property
    def sha256(self) -> str:
        """Of the value in hex, "" for null."""
        return "" if self.value is None else hashlib.sha256(self.value).hexdigest()


class Load:
    """Chooses what comes next.

    Args:
        ids: how many different ids images have: the fewer, the more are replaced.
        pictures: how many different pictures there are: the fewer, the more distances are equal.
    """

    def __init__(self, chance: random.Random, *, ids: int = 80, pictures: int = 60) -> None:
        self._chance = chance
        self._ids = [f"{chance.choice(('image', 'ä', 'Image'))}/{n}" for n in range(ids)]
        digits = mnist.images("test")
        self._pictures = [mnist.png(digits[chance.randrange(len(digits))]) for _ in range(pictures)]

    def record(self) -> Made:
        """An image most of the time, else a deletion or something that must be rejected."""
        draw = self._chance.random()
        if draw < 0.12:
            return self.deletion(self._chance.choice(self._ids))
        return self._bad() if draw < 0.2 else self.image(self._chance.choice(self._ids))

    def image(self, image_id: str) -> Made:
        """An image under an id, with metadata or without."""
        metadata = self._metadata() if self._chance.random() < 0.8 else {}
        header = json.dumps(metadata).encode() if metadata else None
        return Made(
            kind="put", image_id=image_id, key=image_id.encode(), value=self.picture(), metadata=metadata, header=header
        )

    def deletion(self, image_id: str) -> Made:
        """Of an id, whether there is such an image or not."""
        return Made(kind="delete", image_id=image_id, key=image_id.encode(), value=None)

    def picture(self) -> bytes:
        """One of the pictures that are sent."""
        return self._chance.choice(self._pictures)

    def query(self, embed: Any) -> Query:
        """An image that is there or not, an embedding near one, or an id."""
        draw = self._chance.random()
        if draw < 0.4:
            return Query(image=self.picture())
        if draw < 0.6:
            return Query(image_id=self._chance.choice(self._ids))
        noise = np.random.default_rng(self._chance.randrange(2**32)).normal(0, 0.05, 2048).astype(np.float32)
        embedding: Embedding = embed(self.picture())
        return Query(embedding=[float(x) for x in embedding + noise[: len(embedding)]])

    def batch(self, embed: Any) -> tuple[list[Query], int, dict[str, Any] | None]:
        """Queries to ask at once, how many matches of each, and a filter."""
        queries = [query for query in (self.query(embed) for _ in range(8)) if query.image is None]
        asked = self._chance.choice(_FILTERS) if self._chance.random() < 0.5 else None
        return queries or [Query(image_id=self._ids[0])], self._chance.choice((1, 10)), asked

    def wanted(self, coverage: Coverage | None, times_ms: Sequence[int]) -> dict[str, Any]:
        """How a question is to be answered, as `Asker.search` takes it.

        Args:
            coverage: that the client was told last.
            times_ms: that may be asked for.
        """
        chance = self._chance
        found: dict[str, Any] = {"k": chance.choice((1, 3, 10, 10, 50, 1000))}
        if chance.random() < 0.15:
            found["max_distance"] = chance.choice((0.0, 0.8, 1.1))
        if chance.random() < 0.3:
            found["filter"] = chance.choice(_FILTERS)
        draw = chance.random()
        if draw < 0.12 and coverage:
            offsets = {p: chance.randint(0, end) for p, end in coverage.offsets.items()}
            found["as_of"] = (
                ",".join(f"{p}:{offset}" for p, offset in offsets.items() if chance.random() < 0.9) or "0:0"
            )
        elif draw < 0.24 and times_ms:
            found["as_of"] = rfc3339_of(chance.choice(times_ms))
        elif draw < 0.4 and coverage:
            found["min_offsets"] = {p: end + chance.randint(-3, 3) for p, end in coverage.offsets.items() if end > 3}
        elif draw < 0.5 and coverage:
            found |= {"generation": coverage.generation, "offset": chance.randint(0, 20)}
        return found

    def watched(self, embed: Any) -> tuple[Query, float, dict[str, Any] | None]:
        """What a watch is created with: query, distance and filter."""
        near = self._chance.choice((0.0, 1.0, 1.2))
        asked = self._chance.choice(_FILTERS) if self._chance.random() < 0.3 else None
        return Query(embedding=[float(x) for x in embed(self.picture())]), near, asked

    def _bad(self) -> Made:
        image_id = self._chance.choice(self._ids)
        key, value = image_id.encode(), self.picture()
        return self._chance.choice(
            (
                Made(kind="bad", image_id=image_id, key=key, value=b"", reason="empty"),
                Made(kind="bad", image_id=image_id, key=key, value=b"<html>", reason="unsupported-type"),
                Made(kind="bad", image_id=image_id, key=key, value=value, header=b"[1]", reason="bad-metadata"),
                Made(kind="bad", image_id="", key=b"\xff" + key, value=value, reason="bad-key"),
                Made(kind="bad", image_id="", key=None, value=None, reason="missing-key"),
            )
        )

    def _metadata(self) -> dict[str, Any]:
        chance = self._chance
        found: dict[str, Any] = {
            "label": chance.choice((1, 2, 3, 4, 5, 7, 7.0, "7")),
            "flag": chance.choice((True, False, 1)),
        }
        found["tags"] = chance.sample(_TAGS, chance.randint(0, 3))
        if chance.random() < 0.6:
            found["camera"] = chance.choice(_CAMERAS)
        return found


class Embedder:
    """The encoder, which says what an embedding is: the only thing that is shared with what is judged. Any thread may call it."""

    def __init__(self, name: str) -> None:
        self._encoder = load_encoder(name)
        self._lock = threading.Lock()  # an encoder is for one thread at a time

    def __call__(self, value: bytes) -> Embedding:
        """Embedding (d,) float32 of an encoded image."""
        with self._lock:
            return self._encoder.embed(self._encoder.pixels(decode(value).image))


def rfc3339_of(time_ms: int) -> str:
    """A time as questions take it."""
    return f"{np.datetime64(time_ms, 'ms')}Z"
