"""What the API refuses, as exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """The API refused or could not be reached.

    Args:
        status: HTTP status, 0 when nothing answered.
        code: the problem's stable code; ``unreachable`` when nothing answered or an answer broke off, ``not-lookalike`` when
            something else answered.
        detail: what happened, what was expected and what to do next.
        problem: the whole body of the API's answer, empty without one.

    Attributes:
        request_id: by which the API's log tells of the request, "" where nothing answered.
    """

    def __init__(self, status: int, code: str, detail: str, problem: Mapping[str, Any] | None = None) -> None:
        self.request_id = str((problem or {}).get("request_id") or "")
        super().__init__(f"{code}: {detail}" + (f" (request {self.request_id})" if self.request_id else ""))
        self.status = status
        self.code = code
        self.detail = detail
        self.problem = dict(problem or {})


def refusal(status: int, body: bytes) -> ApiError:
    """The problem that an answer's body describes."""
    try:
        return problem_error(json.loads(body), status)
    except (ValueError, KeyError, TypeError):
        return not_lookalike(status)


def problem_error(problem: Mapping[str, Any], status: int | None = None) -> ApiError:
    """A problem of the API as an exception.

    Raises:
        KeyError: it has not the fields of a problem.
    """
    return ApiError(problem["status"] if status is None else status, problem["code"], problem["detail"], problem)


def not_lookalike(status: int) -> ApiError:
    """An answer that this API does not give."""
    return ApiError(status, "not-lookalike", f"The answer with status {status} is not one of lookalike's.")
