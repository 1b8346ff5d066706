"""Our own processes, in the order in which they are started."""

import json
import ssl
import sys
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path

from contract.collections import DEFAULT_COLLECTION
from contract.errors import ConfigurationError
from contract.settings import PREFIX, Settings, environment_of
from stack.secured import as_user
from stack.service import Service

# As those who start our programs know it.
environment = environment_of
# glibc keeps freed arrays for later otherwise: 90 MB in an API whose gallery grew to 60,000 images.
_MALLOC = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "262144", "MALLOC_TRIM_THRESHOLD_": "262144"}


def topics(settings: Settings) -> Service:
    """Creates the topics, then ends."""
    return replace(_python(settings, "topics", "producers", "topics"), once=True)


def grants(settings: Settings) -> Service:
    """Gives a secured stack's users what they may do, then ends."""
    return replace(_python(settings, "grants", "stack", "grant"), once=True)


def embedder(settings: Settings, slot: int = 0) -> Service:
    """The Faust worker of one slot; its slot makes it the same group member after a restart."""
    return _python(settings, "embedder", "workers", "embedder", "--slot", str(slot))


def indexer(settings: Settings) -> Service:
    """The writer of the index folder."""
    return _python(settings, "indexer", "workers", "indexer")


def watcher(settings: Settings) -> Service:
    """Tells what matches the watches."""
    return _python(settings, "watcher", "workers", "watcher")


def audit(settings: Settings) -> Service:
    """Compares Kafka's records with what is stored and found."""
    return _python(settings, "audit", "workers", "audit")


def beside(settings: Settings) -> list[Service]:
    """Embedder and indexer of the next encoder, which feed an index of their own.

    Raises:
        ConfigurationError: no next encoder is named, or it is the one that runs already.
    """
    if settings.next_encoder in ("", settings.encoder):
        raise ConfigurationError(
            f"{PREFIX}NEXT_ENCODER={settings.next_encoder}: name an encoder other than {PREFIX}ENCODER={settings.encoder}, "
            "to embed and index with it beside that one."
        )
    # Its metrics would want the ports of the other two, which go on to serve the other collections.
    own = {
        "encoder": settings.next_encoder,
        "next_encoder": "",
        "collections": DEFAULT_COLLECTION,
        "embedder_metrics_port": 0,
        "indexer_metrics_port": 0,
    }
    own_settings = settings.model_copy(update=own)
    return [
        replace(made, name=f"{made.name}-next", log=made.log.with_stem(f"{made.name}-next"))
        for made in (embedder(own_settings), indexer(own_settings))
    ]


def api(settings: Settings) -> Service:
    """The HTTP service; ready when it has an index to answer from."""
    return replace(
        _python(settings, "api", "api", "serve"),
        ports={f"{PREFIX}API_PORT": settings.api_port},
        is_ready=lambda: answers_ready(settings.api_address, settings.api_tls_certificate_file),
    )


def answers_ready(address: str, certificate: Path | None = None) -> bool:
    """Whether the API says that it can answer searches.

    Args:
        certificate: that it speaks TLS with.
    """
    try:
        with _readyz(address, certificate) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def told_stalled(address: str, certificate: Path | None = None) -> str:
    """A sentence when the API says that coverage stands still; "" when it does not, or there is no API."""
    try:
        with _readyz(address, certificate) as answer:
            stalled = json.load(answer).get("stalled")
    except (OSError, ValueError):
        return ""
    if not stalled:
        return ""
    since = datetime.fromtimestamp(stalled["since"] / 1000, UTC).isoformat(timespec="seconds")
    return (
        f"The index stands still since {since} although images wait: look at the {stalled['part']}, "
        f"`python -m stack logs {stalled['part']}`. Searches are answered from what it covers."
    )


def _readyz(address: str, certificate: Path | None) -> HTTPResponse:
    """The answer; with a certificate that one alone is trusted, whoever signed it, under any name: it is an address of this machine.

    Raises:
        OSError: there is none, or it is an error.
    """
    if certificate is None:
        answer: HTTPResponse = urllib.request.urlopen(f"{address}/readyz", timeout=2.0)
        return answer
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    found: HTTPResponse = opener.open(f"{address}/readyz", timeout=2.0)
    return found


def _python(settings: Settings, name: str, *arguments: str) -> Service:
    """Each comes to a secured stack's servers as a user of its own name, what makes topics as the one who may."""
    own = settings if name == "grants" else as_user(settings, "admin" if name == "topics" else name)
    return Service(
        name=name,
        command=lambda: [sys.executable, "-m", *arguments],
        log=settings.var_dir.resolve() / "logs" / f"{name}.log",
        environment={**environment(own), **_MALLOC},
    )
