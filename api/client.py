"""A small client for the API, with nothing but the standard library.

from api.client import Client
answer = Client("http://127.0.0.1:8000").search_file(Path("digit.png"), k=3)
for match in answer.matches:
    print(match.id, match.distance, match.metadata)
"""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

TIMEOUT_S = 30.0

Sort = Literal["best", "biggest", "newest", "oldest", "most_changed"]
Effort = Literal["normal", "thorough"]
# The hypothesis that says nothing: the query as it is.
WHOLE = "whole"


class ApiError(Exception):
    """The API refused or could not be reached.

    Args:
        status: HTTP status, 0 when nothing answered.
        code: the problem's stable code, ``unreachable`` when nothing answered, or an answer broke off.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Edit:
    """One thing that was done to a match to get the query; the API's documentation says what `amount` is of each name."""

    name: str
    amount: float
    unit: str


@dataclass(frozen=True)
class Outline:
    """What a query and a match both show: corners (x, y) in the pixels of either picture, the same in both."""

    query: list[list[float]]
    match: list[list[float]]


@dataclass(frozen=True)
class Neighbour:
    """One match. Fields other than id and distance are None while the store is away; from `verdict` on also unless a search
    asked with `explain`, `hypothesis` unless it asked with `effort="thorough"`. `larger` is by how much its sides are longer than the query's, if it has more pixels."""

    id: str
    distance: float
    metadata: dict[str, Any] | None
    width: int | None
    height: int | None
    media_type: str | None
    same_bytes: bool | None
    same_pixels: bool | None
    truncated: bool | None = None
    larger: float | None = None
    hypothesis: str | None = None
    verdict: str | None = None
    edits: list[Edit] | None = None
    alignment: list[list[float]] | None = None
    residual: float | None = None
    confidence: float | None = None
    outline: Outline | None = None


@dataclass(frozen=True)
class Answer:
    """What a search found, nearest first unless sorted otherwise, and what it covers; `raw` is the whole body."""

    matches: list[Neighbour]
    coverage: dict[str, Any]
    degraded: list[str]
    timing_ms: dict[str, float]
    raw: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """What Kafka confirmed; a search with `min_offsets` sees it."""

    id: str
    log: str
    partition: int
    offset: int
    min_offsets: str


class Client:
    """Talks to one API process or to several behind one address. Every method raises ApiError."""

    def __init__(self, address: str = "http://127.0.0.1:8000", timeout_s: float = TIMEOUT_S) -> None:
        self._address = address.rstrip("/")
        self._timeout_s = timeout_s

    def search(
        self,
        image: bytes,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        explain: bool = False,
        sort: Sort | None = None,
        effort: Effort = "normal",
    ) -> Answer:
        """Neighbours of an encoded image; `explain` says of each what it is to the image, `sort` and `effort` are as in the API."""
        query = _query(k, max_distance, min_offsets, wait_ms, explain=explain, sort=sort, effort=effort)
        return self._search(image, "application/octet-stream", query)

    def search_file(
        self,
        file: Path,
        *,
        k: int = 10,
        explain: bool = False,
        sort: Sort | None = None,
        effort: Effort = "normal",
    ) -> Answer:
        """Neighbours of an image file.

        Raises:
            OSError: the file cannot be read.
        """
        return self.search(file.read_bytes(), k=k, explain=explain, sort=sort, effort=effort)

    def search_id(
        self,
        image_id: str,
        *,
        k: int = 10,
        max_distance: float | None = None,
        min_offsets: str | None = None,
        wait_ms: int | None = None,
        explain: bool = False,
        sort: Sort | None = None,
    ) -> Answer:
        """Neighbours of an image of the gallery, itself first."""
        body = json.dumps({"image_id": image_id}).encode()
        query = _query(k, max_distance, min_offsets, wait_ms, explain=explain, sort=sort)
        return self._search(body, "application/json", query)

    def search_embedding(
        self, embedding: Sequence[float], *, encoder: str = "", k: int = 10, max_distance: float | None = None
    ) -> Answer:
        """Neighbours of an embedding, as many numbers as the encoder's dimensions; refused when `encoder` is given and another one answers."""
        body = json.dumps({"embedding": list(embedding), "encoder": encoder}).encode()
        return self._search(body, "application/json", _query(k, max_distance))

    def put(self, image: bytes, *, image_id: str | None = None) -> Written:
        """Publish an image; without an id it gets the SHA-256 of its bytes."""
        body = self._call("POST", "/v1/images", {"id": image_id}, image, "application/octet-stream")
        return Written(**json.loads(body))

    def delete(self, image_id: str) -> Written:
        """Delete an image."""
        return Written(**json.loads(self._call("DELETE", "/v1/images", {"id": image_id})))

    def image(self, image_id: str) -> dict[str, Any]:
        """What is known of an image."""
        return dict(json.loads(self._call("GET", "/v1/images", {"id": image_id})))

    def original(self, image_id: str) -> bytes:
        """The bytes exactly as they were published."""
        return self._call("GET", "/v1/images/original", {"id": image_id})

    def index(self) -> dict[str, Any]:
        """The state of the index."""
        return dict(json.loads(self._call("GET", "/v1/index", {})))

    def rejected(self, limit: int = 20) -> list[dict[str, Any]]:
        """The records that were refused last, newest first."""
        return list(json.loads(self._call("GET", "/v1/rejected", {"limit": limit}))["rejected"])

    def _search(self, body: bytes, content_type: str, query: Mapping[str, object]) -> Answer:
        raw = json.loads(self._call("POST", "/v1/search", query, body, content_type))
        matches = [_neighbour(match) for match in raw["matches"]]
        return Answer(matches, raw["coverage"], raw["degraded"], raw["timing_ms"], raw)

    def _call(
        self, method: str, path: str, query: Mapping[str, object], body: bytes | None = None, content_type: str = ""
    ) -> bytes:
        given = urlencode({name: value for name, value in query.items() if value is not None})
        request = urllib.request.Request(f"{self._address}{path}?{given}", body, method=method)
        if content_type:
            request.add_header("Content-Type", content_type)
        try:
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    raise _refusal(error.code, error.read()) from error
        except (OSError, HTTPException) as error:
            raise ApiError(
                0, "unreachable", f"{self._address} does not answer ({error}). Is it running? `python -m api serve`"
            ) from error


def _query(
    k: int,
    max_distance: float | None,
    min_offsets: str | None = None,
    wait_ms: int | None = None,
    *,
    explain: bool = False,
    sort: Sort | None = None,
    effort: Effort = "normal",
) -> dict[str, object]:
    asked = {"explain": "true" if explain else None, "sort": sort, "effort": None if effort == "normal" else effort}
    return {"k": k, "max_distance": max_distance, "min_offsets": min_offsets, "wait_ms": wait_ms, **asked}


def _neighbour(match: Mapping[str, Any]) -> Neighbour:
    known: dict[str, Any] = {name: match.get(name) for name in Neighbour.__dataclass_fields__}
    if known["edits"] is not None:
        known["edits"] = [Edit(**edit) for edit in known["edits"]]
    if known["outline"] is not None:
        known["outline"] = Outline(**known["outline"])
    return Neighbour(**known)


def _refusal(status: int, body: bytes) -> ApiError:
    try:
        problem = json.loads(body)
        return ApiError(status, problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ApiError(status, "not-lookalike", f"The answer with status {status} is not one of lookalike's.")
