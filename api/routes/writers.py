"""Who may write: the page and programs, but no foreign page in a person's browser; and what a write says of its origin."""

from urllib.parse import urlsplit

from fastapi import Request
from structlog.contextvars import get_contextvars

from api.access.guard import access_of
from api.answers.problems import ProblemError
from contract.origin import TRACE_HEADER, Origin, sound_traceparent
from runtime.tracing import TRACEPARENT


def check_writer(request: Request, allowed_hosts: str) -> None:
    """Let nobody write through a person's browser but the page itself, and pages that the settings or a key vouch for.

    A foreign page's request carries its own Origin; a name that was rebound to this address shows in Host. The scheme is
    not compared: a proxy may speak TLS for us.

    Raises:
        ProblemError: 403 ``foreign-host`` or ``foreign-origin``.
    """
    if access_of(request).is_vouched:
        return
    host = request.headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if name not in allowed_hosts.lower().split(","):
        raise ProblemError(
            403,
            "foreign-host",
            f"The request's Host is {host!r}, writes are taken under {allowed_hosts}. "
            "Add the name to LOOKALIKE_API_ALLOWED_HOSTS if it is yours.",
        )
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        raise ProblemError(
            403, "foreign-origin", f"The request comes from a page of {origin!r}; writes are taken from {host} alone."
        )


def request_origin(request: Request) -> Origin:
    """What the record that this request publishes says of its origin: the request's id, and the trace that it belongs to."""
    return Origin(
        request_id=get_contextvars().get("request_id", ""),
        traceparent=TRACEPARENT.get() or sound_traceparent(request.headers.get(TRACE_HEADER, "")),
    )
