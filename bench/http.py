"""What a search costs over HTTP: one client after another and many at once, each on a connection that it keeps."""

import asyncio
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.machine import machine, versions
from contract.errors import DependencyError
from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist

QUERIES = 2000
ENDLESS, DAY_S = 1_000_000_000, 86_400.0


def measure_http(settings: Settings, clients: int, seconds: float, searches: int = QUERIES) -> dict[str, Any]:
    """Searches with MNIST test digits, k = 10, by one client and by `clients` at once; latencies in ms.

    The first `searches` ask for what the API has not looked up yet (cold), the rest mostly for what it has.

    Raises:
        DependencyError: the stack does not run, or holds no image.
    """
    index = require_api(settings)
    if not index["count"]:
        raise DependencyError("index", "it holds no image to find. Publish some first: `python -m producers mnist`.")
    requests = search_requests(settings, searches)
    figures: dict[str, Any] = {
        "gallery_images": index["coverage"]["count"],
        "machine": machine(),
        "versions": versions(),
        "rows": [],
    }
    for name, count, most, longest_s in (
        ("cold, one client", 1, len(requests), DAY_S),
        ("one client", 1, ENDLESS, seconds),
        (f"{clients} clients", clients, ENDLESS, seconds),
    ):
        found = asyncio.run(load(settings, requests, count, count=most, seconds=longest_s))
        figures["rows"].append({"method": name, "clients": count, **found})
    return figures


def require_api(settings: Settings) -> dict[str, Any]:
    """The state of the index.

    Raises:
        DependencyError: the stack does not run.
    """
    try:
        return Client(settings.api_address).index()
    except ApiError as error:
        raise DependencyError("api", f"{error.detail} Start the stack first: `make up`.") from error


def search_requests(settings: Settings, count: int = QUERIES) -> list[bytes]:
    """Whole HTTP requests for searches with MNIST test digits, in an order of their own."""
    images = list(mnist.images("test"))
    random.Random(1).shuffle(images)
    return [search_request(settings, mnist.png(image)) for image in images[:count]]


async def load(
    settings: Settings,
    requests: list[bytes],
    clients: int,
    *,
    count: int = ENDLESS,
    seconds: float = DAY_S,
    pause_s: float = 0.0,
    is_over: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Searches by `clients` at once, each on a connection that it keeps, until one of the limits is reached.

    Args:
        pause_s: of a client between an answer and its next search.
    """
    took_ms: list[float] = []
    turns = iter(range(count))
    deadline = time.perf_counter() + seconds

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(settings.api_host, settings.api_port)
        for turn in turns:
            began = time.perf_counter()
            if began > deadline or is_over():
                break
            writer.write(requests[turn % len(requests)])
            status, body = await _response(reader)
            if status != 200:
                raise DependencyError("api", f"it answered {status}: {body[:300]!r}")
            took_ms.append((time.perf_counter() - began) * 1000)
            if pause_s:
                await asyncio.sleep(pause_s)
        writer.close()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(ask())
    elapsed_s = time.perf_counter() - began
    percentiles = statistics.quantiles(took_ms, n=100)
    return {
        "searches": len(took_ms),
        "per_s": round(len(took_ms) / elapsed_s, 1),
        "p50_ms": round(percentiles[49], 2),
        "p99_ms": round(percentiles[98], 2),
        "max_ms": round(max(took_ms), 2),
    }


async def _response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def search_request(settings: Settings, image: bytes, media_type: str = "image/png", parameters: str = "k=10") -> bytes:
    """A whole HTTP request for a search with an image."""
    head = (
        f"POST /v1/search?{parameters} HTTP/1.1\r\nHost: {settings.api_host}:{settings.api_port}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(image)}\r\n\r\n"
    )
    return head.encode() + image
