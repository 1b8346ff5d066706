"""Watches: being told of every image that matches from now on."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from lookalike_client.bodies import AnyQuery, json_body
from lookalike_client.problems import ApiError, refusal


@dataclass(frozen=True)
class Watched:
    """A watch. `secret`, with which its webhook's messages are signed, is told only when it is created."""

    id: str
    name: str
    max_distance: float
    webhook: str | None
    has_image: bool
    created_at: int
    is_watched: bool
    secret: str | None = None


@dataclass(frozen=True)
class Matched:
    """An image that matched a watch; `id` is the same whenever it is told again. Times are milliseconds since 1970."""

    id: str
    watch: str
    name: str
    collection: str
    image: str
    distance: float
    source: dict[str, Any]
    verdict: str | None
    created_at: int


def watched_of(body: Mapping[str, Any]) -> Watched:
    """A watch from an answer's JSON."""
    return Watched(**{field.name: body.get(field.name) for field in fields(Watched)})  # type: ignore[arg-type]


def matched_of(body: Mapping[str, Any]) -> Matched:
    """A match from an answer's or an event's JSON."""
    return Matched(**{field.name: body[field.name] for field in fields(Matched)})


def new_watch(
    query: AnyQuery, *, max_distance: float, asked: Mapping[str, Any] | None, name: str, webhook: str
) -> tuple[dict[str, object], bytes, str]:
    """The parameters, the body and its content type that ask for a watch."""
    wanted: dict[str, object] = {"max_distance": max_distance, "name": name, "webhook": webhook}
    if isinstance(query, bytes):
        return {**wanted, "filter": None if asked is None else json.dumps(asked)}, query, "application/octet-stream"
    about = {"image_id": query} if isinstance(query, str) else {"embedding": [float(number) for number in query]}
    return {}, json_body({**about, **wanted}, asked), "application/json"


def match_events(request: urllib.request.Request, timeout_s: float) -> Iterator[Matched]:
    """The matches as they are told, for as long as the connection holds.

    Raises:
        ApiError: the API refused, or the connection broke off.
    """
    address = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            for line in response:
                if line.startswith(b"data:"):
                    yield matched_of(json.loads(line[5:]))
    except urllib.error.HTTPError as error:
        with error:
            raise refusal(error.code, error.read()) from error
    except (OSError, http.client.HTTPException) as error:
        raise ApiError(0, "unreachable", f"{address} does not answer ({error}).") from error
    raise ApiError(0, "unreachable", f"{address} ended the stream of matches.")
