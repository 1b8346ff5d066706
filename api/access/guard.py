"""Lets a request through to the routes when it may have what it asks for, else answers it with a problem."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

import structlog
from fastapi import Request
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access.key_file import KeyFile
from api.access.keys import Keyring, StoredKey
from api.access.listening import is_loopback
from api.access.needs import Need, need_of
from api.answers.fair_queue import ASKED_BY
from api.answers.problems import ProblemError, problem_response
from contract.errors import ConfigurationError
from contract.settings import Settings
from contract.telemetry import REQUESTS_REFUSED

COOKIE = "lookalike_key"
_CHALLENGE = 'Bearer realm="lookalike"'
_PLACE = "access"

logger = structlog.get_logger()


@dataclass(frozen=True)
class Access:
    """Who asks.

    Attributes:
        key: what opened the door; None where none was needed.
        is_vouched: no foreign page can have made the request: it carries a key in a header, or comes from an origin that the
            settings allow.
    """

    key: StoredKey | None
    is_vouched: bool

    @property
    def is_for_all(self) -> bool:
        """Whether every collection may be told of."""
        return self.key is None or self.key.collections is None

    def is_for(self, collection: str) -> bool:
        """Whether this collection may be told of."""
        return self.key is None or self.key.is_for(collection)


def access_of(request: Request) -> Access:
    """Who sent this request."""
    found: Access = request.scope[_PLACE]
    return found


class Guard:
    """Stands before all routes.

    Without a file of keys, an API that listens on loopback answers everybody there, and another one nobody.

    Args:
        clock: seconds that only go on.
    """

    def __init__(self, app: ASGIApp, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app = app
        self._keys = KeyFile(settings.keys_file)
        self._is_loopback = is_loopback(settings.api_host)
        self._origins = frozenset(settings.cors_origins)
        self._budgets: dict[str, _Budget] = {}
        self._clock = clock
        self._told = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            access = self._admit(scope)
        except ProblemError as problem:
            REQUESTS_REFUSED.labels(problem.code).inc()
            await problem_response(problem)(scope, receive, send)
            return
        scope[_PLACE] = access
        ASKED_BY.set(access.key.id if access.key else (scope.get("client") or ("",))[0])
        if access.key is None:
            await self._app(scope, receive, send)
        else:
            await self._while_good(access.key, scope, receive, send)

    def _admit(self, scope: Scope) -> Access:
        headers = Headers(scope=scope)
        is_allowed_origin = headers.get("origin") in self._origins
        need = need_of(scope["method"], get_route_path(scope))
        if need is None:
            return Access(None, is_vouched=is_allowed_origin)
        keyring = self._keyring()
        if not keyring.are_needed and self._is_loopback:
            return Access(None, is_vouched=is_allowed_origin)
        given = _given_in_header(headers)
        in_header = given is not None
        if given is None:
            given = _given_in_cookie(headers)
            if given is not None:
                _refuse_foreign(scope["method"], headers)
        key = _check(keyring, given, need)
        self._spend(key)
        return Access(key, is_vouched=in_header or is_allowed_origin)

    def _keyring(self) -> Keyring:
        try:
            keyring = self._keys.current()
        except ConfigurationError as error:
            if self._told != str(error):
                logger.error("keys cannot be read", detail=str(error))
            self._told = str(error)
            raise ProblemError(
                503, "keys-unreadable", "The keys cannot be read; the log says why.", retry=True
            ) from error
        self._told = ""
        return keyring

    def _spend(self, key: StoredKey) -> None:
        if key.per_minute is None:
            return
        budget = self._budgets.get(key.id)
        if budget is None or budget.per_minute != key.per_minute:
            budget = self._budgets[key.id] = _Budget(key.per_minute, self._clock())
        wait_s = budget.take(self._clock())
        if wait_s:
            raise _refused(
                429,
                "over-rate",
                f"The key {key.id} may ask {key.per_minute} times a minute, and has. Ask again in {wait_s} s.",
                {"Retry-After": str(wait_s)},
            )

    async def _while_good(self, key: StoredKey, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, but end an answer that still goes on, as event streams do, when the key is revoked."""
        has_ended = False

        async def send_while_good(message: Message) -> None:
            nonlocal has_ended
            if message["type"] == "http.response.body" and message.get("more_body") and not self._is_good(key):
                has_ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                raise OSError("the key was revoked while the answer went on")
            await send(message)

        try:
            await self._app(scope, receive, send_while_good)
        except Exception:
            if not has_ended:
                raise

    def _is_good(self, key: StoredKey) -> bool:
        try:
            return self._keys.current().has(key)
        except ConfigurationError:
            return False


class _Budget:
    """Requests that a key has left: as many as a minute's at once, and new ones evenly."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._left = float(per_minute)
        self._seen_s = now_s

    def take(self, now_s: float) -> int:
        """Take one. Returns 0, or after how many whole seconds there is one."""
        per_s = self.per_minute / 60
        self._left = min(float(self.per_minute), self._left + (now_s - self._seen_s) * per_s)
        self._seen_s = now_s
        if self._left < 1:
            return math.ceil((1 - self._left) / per_s)
        self._left -= 1
        return 0


def _given_in_header(headers: Headers) -> str | None:
    """What a request gives as its key; None without such a header."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else None


def _given_in_cookie(headers: Headers) -> str | None:
    """The key that a browser keeps since its user signed in."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def _refuse_foreign(method: str, headers: Headers) -> None:
    """A browser sends its cookie by itself, so it must be the page itself that asks. Pages of other ports get the cookie sent too.

    Browsers tell where a request comes from in Sec-Fetch-Site where they speak TLS or to loopback, and in Origin with
    everything that is no plain GET.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    is_foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")
    if origin is not None:
        is_foreign = is_foreign or urlsplit(origin).netloc.lower() != host.lower()
    if is_foreign:
        raise ProblemError(
            403,
            "foreign-origin",
            f"The {method} comes from another page ({origin or 'of the same site'}), and only a browser's cookie opens it. "
            "Send the key as `Authorization: Bearer KEY`.",
        )


def _check(keyring: Keyring, given: str | None, need: Need) -> StoredKey:
    if given is None:
        raise _refused(
            401,
            "key-needed",
            "This needs a key: send `Authorization: Bearer KEY`. Whoever runs this API makes one with `lookalike keys create`.",
            {"WWW-Authenticate": _CHALLENGE},
        )
    key = keyring.find(given)
    if key is None:
        raise _refused(
            401,
            "wrong-key",
            "The key is not one of this API's, or was revoked. Ask whoever runs it for another one.",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="invalid_token"'},
        )
    if need.scope is not None and need.scope not in key.scopes:
        raise _refused(
            403,
            "scope-needed",
            f"The key {key.id} is for {', '.join(sorted(key.scopes))}, this needs {need.scope}.",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{need.scope}"'},
        )
    is_outside = key.collections is not None if need.is_of_all else need.collection and not key.is_for(need.collection)
    if is_outside:
        only = ", ".join(sorted(key.collections or ()))
        asked = "all collections" if need.is_of_all else f"{str(need.collection)[:80]!r}"
        raise _refused(
            403,
            "other-collection",
            f"The key {key.id} is for the collections {only}, this is of {asked}.",
            {"WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope"'},
        )
    return key


def _refused(status: int, code: str, detail: str, headers: Mapping[str, str]) -> ProblemError:
    problem = ProblemError(status, code, detail)
    problem.headers.update(headers)
    return problem
