"""What each route needs of a key. What is not listed here as open needs one, so a new route is never open by omission."""

import re
from dataclasses import dataclass

from api.access.keys import Scope
from contract.collections import DEFAULT_COLLECTION

# For supervisors, which hold no keys; the page itself, which holds no data before somebody signs in; and what describes the API.
OPEN_PATHS = frozenset({"/livez", "/readyz", "/", "/index.html", "/docs", "/docs.css", "/openapi.json"})
# The page's scripts, styles and samples.
OPEN_FOLDER = "/assets/"
SESSION_PATH = "/v1/session"
METRICS_PATH = "/metrics"
COLLECTIONS_PATH = "/v1/collections"

_READING = frozenset({"GET", "HEAD"})
_IN_COLLECTION = re.compile(r"/v1/collections/([^/]+)(/.*)?")
# These read, though they have a body.
_SEARCHES = frozenset({"/search", "/search/batch"})


@dataclass(frozen=True)
class Need:
    """What a key must be good for.

    Attributes:
        scope: None where any key will do.
        collection: the one that is asked; None where no single one is.
        is_of_all: only a key for all collections will do.
    """

    scope: Scope | None
    collection: str | None = None
    is_of_all: bool = False


def need_of(method: str, path: str) -> Need | None:
    """What a request needs; None where it needs no key.

    Args:
        path: as routes are matched: decoded, without the path that a proxy serves under.
    """
    is_reading = method in _READING
    if is_reading and (path in OPEN_PATHS or path.startswith(OPEN_FOLDER)):
        return None
    if path == SESSION_PATH:
        return Need(None)
    if path == COLLECTIONS_PATH and is_reading:
        return Need("search")  # tells those that the key is for
    if path == METRICS_PATH and is_reading:
        return Need("search", is_of_all=True)
    found = _IN_COLLECTION.fullmatch(path)
    if found:
        return Need(_scope_below(method, found[2] or ""), found[1])
    if path.startswith("/v1/") and path != COLLECTIONS_PATH:
        return Need(_scope_below(method, path.removeprefix("/v1")), DEFAULT_COLLECTION)
    return Need("admin", is_of_all=True)


def _scope_below(method: str, path: str) -> Scope:
    """The scope for a path below a collection, "" for the collection itself."""
    if method in _READING or (method == "POST" and path in _SEARCHES):
        return "search"
    return "publish" if path else "admin"
