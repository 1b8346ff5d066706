"""`with`: which fields of a match are asked for. Those that are left out are absent from the answer, and not looked up."""

from dataclasses import fields
from typing import Any

from api.answers.matches import SearchMatch
from api.answers.problems import ProblemError
from api.answers.questions import Wanted
from api.answers.search import SEARCH_ANSWER, SearchAnswer

ALWAYS = ("id", "distance")
CHOSEN = tuple(field.name for field in fields(SearchMatch) if field.name not in ALWAYS)
# What the index itself knows; all else comes from the store.
_INDEXED = frozenset({"thumbnail_url", "source", "hypothesis"})


def read_fields(text: str | None) -> frozenset[str] | None:
    """Names of fields beside id and distance; None for all of them.

    Raises:
        ProblemError: 400 ``bad-with``.
    """
    if text is None:
        return None
    names = frozenset(name.strip() for name in text.split(",")) - {"", *ALWAYS}
    if unknown := sorted(names.difference(CHOSEN)):
        raise ProblemError(
            400, "bad-with", f"with names {unknown[0][:80]!r}, a match has {', '.join(CHOSEN)}; id and distance always."
        )
    return names


def needs_records(wanted: Wanted) -> bool:
    """Whether an answer needs what the store knows of its matches."""
    return wanted.fields is None or wanted.explain or wanted.sort == "biggest" or not wanted.fields <= _INDEXED


def with_fields(answer: SearchAnswer, names: frozenset[str]) -> dict[str, Any]:
    """An answer's body whose matches have these fields, id and distance, and no others."""
    body: dict[str, Any] = SEARCH_ANSWER.dump_python(answer, mode="json")
    body["matches"] = [
        {name: value for name, value in match.items() if name in names or name in ALWAYS} for match in body["matches"]
    ]
    return body
