"""Where a record comes from: what its producer's headers say, so that every part can tell it where it speaks of the record."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from contract.messages import Headers

REQUEST_HEADER = "x-request-id"
TRACE_HEADER = "traceparent"
# Of so many records a line of a log names the requests.
_TOLD_MAX = 20
# What can stand in a header and in a log as it is.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")
# https://www.w3.org/TR/trace-context: version, trace, parent, flags; zeros are no ids.
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Origin(NamedTuple):
    """Which request brought a record, and which trace it belongs to; "" where nobody said so."""

    request_id: str = ""
    traceparent: str = ""

    def headers(self) -> list[tuple[str, bytes]]:
        """The headers of a Kafka record that say so."""
        told = ((REQUEST_HEADER, self.request_id), (TRACE_HEADER, self.traceparent))
        return [(name, value.encode()) for name, value in told if value]


UNKNOWN_ORIGIN = Origin()


def sound_request_id(text: str) -> str:
    """The id if it is one that we pass on: 1 to 128 letters, digits and ``._~:/+=@-``; else ""."""
    return text if _REQUEST_ID.fullmatch(text) else ""


def sound_traceparent(text: str) -> str:
    """The place in a trace if it is one of W3C's, version 00; else ""."""
    return text if _TRACEPARENT.fullmatch(text) else ""


def origin_of(headers: Headers) -> Origin:
    """What a record's headers say; of several of one name the first counts, and what is not sound is passed over."""
    if not headers:
        return UNKNOWN_ORIGIN
    request_id, traceparent = (_first(headers, name) for name in (REQUEST_HEADER, TRACE_HEADER))
    found = Origin(sound_request_id(request_id), sound_traceparent(traceparent))
    return found if any(found) else UNKNOWN_ORIGIN


def requests_told(origins: Iterable[Origin]) -> dict[str, list[str]]:
    """For a line of a log: the first requests among the records that it speaks of, nothing where there are none."""
    found: dict[str, None] = {}
    for origin in origins:
        if origin.request_id:
            found[origin.request_id] = None
            if len(found) == _TOLD_MAX:
                break
    return {"requests": list(found)} if found else {}


def _first(headers: Headers, wanted: str) -> str:
    return next((value or b"" for name, value in headers if name == wanted), b"").decode("ascii", "replace")
