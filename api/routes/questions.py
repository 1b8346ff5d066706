"""Reads what a search asks from a JSON body, and describes the body for OpenAPI."""

import json
from typing import Any

from pydantic import ValidationError

from api.answers.problems import ProblemError
from api.answers.questions import ByEmbedding, ById, Question
from contract.errors import RejectedError
from contract.formats import MEDIA_TYPES
from gallery.filters import Filter, parse_filter, read_filter

_FIELDS = ({"image_id"}, {"embedding"}, {"embedding", "encoder"})
_EXPECTED = {"image_id": "1 to 256 bytes of text", "encoder": "text"}
_FILE: dict[str, Any] = {"type": "string", "format": "binary"}
_ASKED: list[dict[str, Any]] = [ById.model_json_schema(), ByEmbedding.model_json_schema()]


_FILTER: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "As the parameter filter, which may be given instead.",
}


def described_body(*, many: int = 0) -> dict[str, Any]:
    """A request body for OpenAPI: of one question, or of up to `many`."""
    files = {"type": "array", "items": _FILE, "minItems": 1, "maxItems": many} if many else _FILE
    form_filter = {"type": "string", "description": "As the parameter filter, which may be given instead."}
    form = {"type": "object", "required": ["file"], "properties": {"file": files, "filter": form_filter}}
    asked: dict[str, Any]
    if many:
        queries = {"type": "array", "items": {"oneOf": _ASKED}, "minItems": 1, "maxItems": many}
        asked = {"type": "object", "required": ["queries"], "properties": {"queries": queries, "filter": _FILTER}}
    else:
        asked = {"oneOf": [{**one, "properties": {**one["properties"], "filter": _FILTER}} for one in _ASKED]}
    images = {} if many else {kind: {"schema": _FILE} for kind in MEDIA_TYPES}
    content = images | {"multipart/form-data": {"schema": form}, "application/json": {"schema": asked}}
    return {"requestBody": {"required": True, "content": content}}


def read_question(body: bytes) -> tuple[ById | ByEmbedding, object]:
    """The question that a JSON body asks, and its `filter` as it stands there, None without one.

    Raises:
        ProblemError: 400 ``bad-json``, ``bad-query``, ``bad-image-id`` or ``bad-embedding``.
    """
    asked, told = _without_filter(_parsed(body))
    return _question(asked), told


def read_questions(body: bytes, count_max: int) -> tuple[list[Question], object]:
    """The questions that a JSON body asks, in order, and its `filter` as `read_question`.

    Raises:
        ProblemError: 400 as `read_question`, its detail naming the place; ``bad-queries``.
    """
    asked, told = _without_filter(_parsed(body))
    queries = asked.get("queries") if isinstance(asked, dict) and len(asked) == 1 else None
    if not isinstance(queries, list) or not 1 <= len(queries) <= count_max:
        raise ProblemError(
            400,
            "bad-queries",
            f'The body must be {{"queries": [1 to {count_max} queries]}} and nothing else but "filter".',
        )
    questions: list[Question] = []
    for place, query in enumerate(queries):
        try:
            questions.append(_question(query))
        except ProblemError as problem:
            raise ProblemError(problem.status, problem.code, f"queries[{place}]: {problem.detail}") from problem
    return questions, told


def _without_filter(asked: Any) -> tuple[Any, object]:
    if not isinstance(asked, dict) or "filter" not in asked:
        return asked, None
    return {name: value for name, value in asked.items() if name != "filter"}, asked["filter"]


def _parsed(body: bytes) -> Any:
    try:
        body.decode()
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProblemError(
            400, "bad-json", f"The body is not JSON in UTF-8: {error}. See /docs for examples."
        ) from error


def _question(asked: Any) -> ById | ByEmbedding:
    if not isinstance(asked, dict) or asked.keys() not in _FIELDS:
        raise ProblemError(
            400, "bad-query", 'A query must be {"image_id": text} or {"embedding": [numbers]} and nothing else.'
        )
    try:
        return ById.model_validate(asked) if "image_id" in asked else ByEmbedding.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name, *place = (str(part) for part in first["loc"])
        where = f"{name}[{place[0]}]" if place else name
        expected = _EXPECTED.get(name, "finite numbers, as many as the encoder's dimensions")
        raise ProblemError(
            400, f"bad-{name.replace('_', '-')}", f"{where}: {first['msg']}. Expected {expected}."
        ) from error


def read_asked_filter(text: str | None, told: object) -> Filter | None:
    """The filter of the parameter's text, or of the body: JSON text of a form, or a part of a JSON body.

    Raises:
        RejectedError: ``bad-filter``.
    """
    if text is not None and told is not None:
        raise RejectedError("bad-filter", "filter: it is given as a parameter and in the body. Give one of them.")
    if told is None:
        told = text
    if told is None:
        return None
    return parse_filter(told) if isinstance(told, str) else read_filter(told)
