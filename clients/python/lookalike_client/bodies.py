"""What requests carry: parameters, JSON and forms."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Union

from lookalike_client.answers import Covered, Effort, Sort

# An encoded image, an id of the gallery, or an embedding.
AnyQuery = Union[bytes, str, Sequence[float]]


def search_parameters(
    k: int,
    max_distance: float | None,
    min_offsets: str | None,
    wait_ms: int | None,
    as_of: str | None,
    *,
    explain: bool = False,
    sort: Sort | None = None,
    effort: Effort = "normal",
    offset: int = 0,
    generation: int | Covered | None = None,
    fields: Sequence[str] | None = None,
) -> dict[str, object]:
    """Parameters of a search; what is not asked for is left out."""
    asked = {
        "as_of": as_of,
        "explain": "true" if explain else None,
        "sort": sort,
        "effort": None if effort == "normal" else effort,
        "offset": offset or None,
        **_generation(generation),
        "with": None if fields is None else ",".join(fields),
    }
    # Before anything is covered, `min_offsets` is empty and asks for nothing.
    return {"k": k, "max_distance": max_distance, "min_offsets": min_offsets or None, "wait_ms": wait_ms, **asked}


def _generation(wanted: int | Covered | None) -> dict[str, object]:
    """Generations of several machines have the same numbers; with the index's id none is taken for another one's."""
    if isinstance(wanted, Covered):
        return {"generation": wanted.generation, "index_id": wanted.index_id}
    return {"generation": wanted}


def batch_questions(queries: Sequence[AnyQuery]) -> dict[str, Any]:
    """The JSON of a batch."""
    return {
        "queries": [
            {"image_id": query} if isinstance(query, str) else {"embedding": [float(number) for number in query]}
            for query in queries
        ]
    }


def json_body(body: Mapping[str, Any], asked: Mapping[str, Any] | None = None) -> bytes:
    """A body of JSON, with the filter that is asked for."""
    return json.dumps(body if asked is None else {**body, "filter": asked}).encode()


def form_body(parts: Sequence[tuple[str, bytes | str]]) -> tuple[str, bytes]:
    """A form's content type and body; bytes become files."""
    boundary = secrets.token_hex(16)
    body = b""
    for name, value in parts:
        filename = '; filename="image"' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        body += head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()
