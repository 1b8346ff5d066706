"""Every error as RFC 9457 problem+json with a stable `code` and a detail that says what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from structlog.contextvars import bind_contextvars, get_contextvars

from contract.errors import DependencyError, IndexDamagedError, RejectedError
from runtime.outbound import MASK

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
# The rest are images that cannot be decoded: 422.
STATUS_OF_REASON = {
    "bad-filter": 400,
    "bad-key": 400,
    "bad-metadata": 400,
    "empty": 400,
    "too-large": 413,
    "unsupported-type": 415,
}

# Parameters whose values no error repeats.
_MAY_BE_SECRET = frozenset({"webhook"})

logger = structlog.get_logger()


class Problem(BaseModel):
    """The body of every error; some codes carry more fields."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = Field(
        None, description="As in the header X-Request-Id; lines of the API's log about this request carry it."
    )


class ProblemError(Exception):
    """Ends a request with a problem.

    Args:
        code: stable and kebab-case, fit for a test.
        detail: what happened, what was expected, what to do next.
        extensions: further fields of the body.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry: bool = False, **extensions: object) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = {"Retry-After": str(RETRY_AFTER_S)} if retry else {}
        self.extensions = extensions

    def body(self) -> Problem:
        """The problem as the body of an answer."""
        title = HTTPStatus(self.status).phrase
        told = {"title": title, "status": self.status, "code": self.code, "detail": self.detail}
        told["request_id"] = get_contextvars().get("request_id")
        return Problem.model_validate(told | self.extensions)


def rejected_problem(error: RejectedError) -> ProblemError:
    """The problem of an image, id or metadata that would be refused by the embedder too, for the same reason."""
    return ProblemError(STATUS_OF_REASON.get(error.reason, 422), error.reason, error.detail)


def describe_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI responses for these statuses, and for every other one that is an error."""
    described: dict[int | str, dict[str, Any]] = {status: _described(HTTPStatus(status).phrase) for status in statuses}
    return described | {"default": _described("Any other error")}


def add_problem_handlers(app: FastAPI) -> None:
    """Make every error that leaves a route, and every request without one, a problem."""
    app.add_exception_handler(ProblemError, _answer_problem)
    app.add_exception_handler(RejectedError, _answer_rejected)
    app.add_exception_handler(DependencyError, _answer_dependency)
    app.add_exception_handler(IndexDamagedError, _answer_damaged)
    app.add_exception_handler(RequestValidationError, _answer_validation)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_bug)


def _described(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def problem_response(problem: ProblemError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The answer that tells a problem."""
    bind_contextvars(code=problem.code)  # for a line about the request
    body = problem.body().model_dump(mode="json")
    return JSONResponse(body, problem.status, headers={**problem.headers, **(headers or {})}, media_type=MEDIA_TYPE)


async def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return problem_response(error)


async def _answer_rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, RejectedError)
    return await _answer_problem(request, rejected_problem(error))


async def _answer_dependency(request: Request, error: Exception) -> Response:
    assert isinstance(error, DependencyError)
    logger.warning("request without its dependency", path=request.url.path, detail=str(error))
    problem = ProblemError(
        503,
        f"{error.dependency}-unavailable",
        f"{error.dependency.capitalize()} did not answer. Searches go on without it; try this again later.",
        retry=True,
    )
    return await _answer_problem(request, problem)


async def _answer_damaged(request: Request, error: Exception) -> Response:
    assert isinstance(error, IndexDamagedError)
    logger.error("index damaged", path=request.url.path, detail=str(error))
    detail = f"{error} Searches without a filter work. Restart the indexer with `--rebuild`."
    return problem_response(ProblemError(503, "index-damaged", detail))


async def _answer_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    if first["type"] == "missing":
        return problem_response(
            ProblemError(400, f"missing-{_kebab(name)}", f"The parameter {name} is missing; see /docs for its meaning.")
        )
    given = MASK if name in _MAY_BE_SECRET else repr(first["input"])[:200]
    detail = f"{name} is {given}: {first['msg']}. See /docs for its meaning."
    return problem_response(ProblemError(400, f"bad-{_kebab(name)}", detail))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.url.path
    if error.status_code == 404:
        return problem_response(
            ProblemError(404, "unknown-route", f"There is nothing at {path}; /docs lists all routes.")
        )
    if error.status_code == 405:
        methods = ", ".join(_methods(request))
        detail = f"{path} does not take {request.method}, it takes {methods}; see /docs."
        return problem_response(ProblemError(405, "method-not-allowed", detail), {"Allow": methods})
    phrase = HTTPStatus(error.status_code).phrase
    return problem_response(
        ProblemError(error.status_code, _kebab(phrase), f"{error.detail}. See /docs."), error.headers
    )


def _methods(request: Request) -> list[str]:
    """What the path of this request takes, whatever stands in its parameters."""
    for path, operations in request.app.openapi()["paths"].items():
        # The first: a name such as `events` stands before the parameter whose place it takes.
        if compile_path(path)[0].match(get_route_path(request.scope)):
            return [method.upper() for method in operations]
    return ["GET"]


async def _answer_nobody(_: Request, __: Exception) -> Response:
    """The client left while it was sending its body: nobody reads this answer."""
    return Response(status_code=400)


async def _answer_bug(request: Request, error: Exception) -> Response:
    logger.error("request failed", path=request.url.path, exc_info=error)
    detail = "This is a bug in the service; its log has the details. Other requests work."
    # Answered outside of everything that adds headers.
    headers = {"X-Request-Id": found} if (found := get_contextvars().get("request_id")) else {}
    return problem_response(ProblemError(500, "internal-error", detail), headers)


def _kebab(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")
