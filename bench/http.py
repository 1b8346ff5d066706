"""What a search costs over HTTP: one client after another and many at once, each on a connection that it keeps."""

import asyncio
import random
import statistics
import time
from typing import Any

from api.client import ApiError, Client
from contract.errors import DependencyError
from contract.settings import Settings
from model import mnist

QUERIES = 2000


def measure_http(settings: Settings, clients: int, seconds: float) -> dict[str, Any]:
    """Searches with MNIST test digits, k = 10, by one client and by `clients` at once; latencies in ms.

    The first 2,000 searches ask for what the API has not looked up yet (cold), the rest mostly for what it has.

    Raises:
        DependencyError: the stack does not run.
    """
    try:
        index = Client(f"http://{settings.api_host}:{settings.api_port}").index()
    except ApiError as error:
        raise DependencyError("api", f"{error.detail} Start the stack first: `make up`.") from error
    images = list(mnist.images("test"))
    random.Random(1).shuffle(images)
    requests = [_request(settings, mnist.png(image)) for image in images[:QUERIES]]
    figures: dict[str, Any] = {"gallery_images": index["coverage"]["count"], "clients": clients}
    figures["cold"] = asyncio.run(_load(settings, requests, 1, count=QUERIES))
    figures["one_client"] = asyncio.run(_load(settings, requests, 1, seconds=seconds))
    figures["many_clients"] = asyncio.run(_load(settings, requests, clients, seconds=seconds))
    return figures


def _request(settings: Settings, png: bytes) -> bytes:
    head = (
        f"POST /v1/search?k=10 HTTP/1.1\r\nHost: {settings.api_host}:{settings.api_port}\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(png)}\r\n\r\n"
    )
    return head.encode() + png


async def _load(
    settings: Settings, requests: list[bytes], clients: int, *, count: int = 1_000_000, seconds: float = 3600.0
) -> dict[str, Any]:
    took_ms: list[float] = []
    turns = iter(range(count))
    deadline = time.perf_counter() + seconds

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(settings.api_host, settings.api_port)
        for turn in turns:
            began = time.perf_counter()
            if began > deadline:
                break
            writer.write(requests[turn % len(requests)])
            status, body = await _response(reader)
            if status != 200:
                raise DependencyError("api", f"it answered {status}: {body[:300]!r}")
            took_ms.append((time.perf_counter() - began) * 1000)
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
