"""Requests to one API, about one collection or about all of them."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from lookalike_client.answers import Answer, Answers
from lookalike_client.problems import ApiError, not_lookalike, refusal
from lookalike_client.seen import TURN_MS, WAIT_MS, Seen

TIMEOUT_S = 30.0
# Read where no key is given.
KEY_VARIABLE = "LOOKALIKE_API_KEY"
KEY_FILE_VARIABLE = "LOOKALIKE_API_KEY_FILE"
_DEFAULT = "default"
# Between two attempts at an answer that covers enough.
_PAUSE_S = 0.02

_Value = TypeVar("_Value")
_Found = TypeVar("_Found", Answer, Answers)


class Requests:
    """Asks one API, or those of several machines behind one address.

    Args:
        collection: that is asked about.
        goes_back: whether a search may cover less than an earlier one did.
        api_key: opens the API where it needs one; by default what LOOKALIKE_API_KEY says, or the file that LOOKALIKE_API_KEY_FILE names.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        timeout_s: float = TIMEOUT_S,
        *,
        collection: str = _DEFAULT,
        api_key: str | None = None,
        goes_back: bool = False,
    ) -> None:
        self._address = address.rstrip("/")
        self._timeout_s = timeout_s
        self._api_key = api_key
        self._seen = None if goes_back else Seen()
        self._collection = "" if collection == _DEFAULT else f"/collections/{quote(collection, safe='')}"

    def _read(
        self,
        read: Callable[[dict[str, Any]], _Value],
        method: str,
        path: str,
        query: Mapping[str, object],
        body: bytes | None = None,
        kind: str = "",
        *,
        is_of_all: bool = False,
    ) -> _Value:
        """An answer's JSON body as `read` makes a value of it."""
        said = self._call(self._request(method, path, query, body, kind, is_of_all=is_of_all))
        try:
            return read(json.loads(said))
        except (ValueError, KeyError, TypeError) as error:
            raise not_lookalike(200) from error

    def _search(
        self,
        read: Callable[[dict[str, Any]], _Found],
        path: str,
        query: Mapping[str, object],
        body: bytes | None = None,
        kind: str = "",
    ) -> _Found:
        """The answer to a search. What covers less than earlier answers is asked for again, until `wait_ms` is over; that is 5 s
        unless the caller says otherwise, or asks for `min_offsets`, which alone waits for nothing.
        """
        seen = self._seen
        if seen is None or query["as_of"] is not None or query.get("generation") is not None:
            return self._read(read, "POST", path, query, body, kind)
        wait_ms, asked = query["wait_ms"], query["min_offsets"]
        assert asked is None or isinstance(asked, str)
        if not isinstance(wait_ms, int):
            wait_ms = WAIT_MS if asked is None else 0
        deadline_s = time.monotonic() + wait_ms / 1000
        while True:
            left_ms = max(0, round(1000 * (deadline_s - time.monotonic())))
            wanted = seen.wanted(asked)
            turn_ms = None if wanted is None else min(left_ms, TURN_MS)
            try:
                found = self._read(read, "POST", path, {**query, "min_offsets": wanted, "wait_ms": turn_ms}, body, kind)
                seen.take(found.coverage)
                return found
            except ApiError as error:
                is_anew = error.code == "unknown-partition" and seen.forget(self._log_now())
                if not is_anew and (not seen.is_behind(error) or left_ms == 0):
                    raise
            time.sleep(min(_PAUSE_S, left_ms / 1000))

    def _log_now(self) -> str:
        """The log that an API covers which knows where Kafka's topic ends; "" where it does not."""
        index: dict[str, Any] = self._read(dict, "GET", "/index", {})
        return str(index["coverage"]["log"]) if index["coverage"]["end_offsets"] is not None else ""

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        body: bytes | None = None,
        kind: str = "",
        *,
        is_of_all: bool = False,
    ) -> urllib.request.Request:
        path = f"/v1{'' if is_of_all else self._collection}{path}"
        given = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        request = urllib.request.Request(f"{self._address}{path}?{given}", body, method=method)
        if kind:
            request.add_header("Content-Type", kind)
        if self._api_key is None:
            self._api_key = _key_of_environment()
        if self._api_key:
            # Not sent to where an answer redirects to.
            request.add_unredirected_header("Authorization", f"Bearer {self._api_key}")
        return request

    def _call(self, request: urllib.request.Request) -> bytes:
        try:
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    raise refusal(error.code, error.read()) from error
        except (OSError, HTTPException) as error:
            raise ApiError(
                0, "unreachable", f"{self._address} does not answer ({error}). Is it running? `python -m api serve`"
            ) from error


def _key_of_environment() -> str:
    """The key that the environment names, "" without one."""
    file = os.environ.get(KEY_FILE_VARIABLE)
    key = os.environ.get(KEY_VARIABLE)
    if key or not file:
        return (key or "").strip()
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ApiError(0, "no-key-file", f"{KEY_FILE_VARIABLE}={file} cannot be read ({error}).") from error
