"""The query string as one pydantic model, checked in one step.

FastAPI checks each parameter by itself and takes 12 µs for it, given or not: a sixth of what a search took.
"""

from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)


def read_query(request: Request, model: type[M]) -> M:
    """The parameters of a request; of one that is given twice the last, and those that the model does not have are ignored.

    Raises:
        RequestValidationError: as FastAPI raises it.
    """
    try:
        return model.model_validate(dict(request.query_params))
    except ValidationError as error:
        told = error.errors(include_url=False)
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in told]) from error


def described_query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The model's fields as OpenAPI's parameters, which FastAPI does not see."""
    schema = model.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": described,
            "description": described["description"],
        }
        for name, described in schema["properties"].items()
    ]
