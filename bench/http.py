"""What a search costs over HTTP, by one client and by many at once, and beside a route that only echoes: what is ours of it."""

import asyncio
import contextlib
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from bench.machine import machine, versions
from bench.own_pipeline import wait_for_child
from contract.errors import DependencyError
from contract.settings import Settings
from lookalike_client import ApiError, Client
from model import mnist
from stack.ports import free_ports
from stack.process import start_child
from stack.programs import api
from stack.service import is_taken

QUERIES = 2000
ENDLESS, DAY_S = 1_000_000_000, 86_400.0
TURN_S = 1.0  # searches and echoes take turns of this length
ECHO_START_S = 30.0


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
    return figures | _beside_echo(settings, requests, clients, max(1, round(seconds)))


def _beside_echo(settings: Settings, requests: list[bytes], clients: int, turns: int) -> dict[str, Any]:
    """Our route and one that only reads the same bodies and answers as many bytes, in turns: searches and CPU of the server."""
    size_bytes = asyncio.run(_answer_size_bytes(settings, requests[0]))
    rates: dict[str, list[float]] = {"search": [], "echo": []}
    cpu_ms: dict[str, list[float]] = {"search": [], "echo": []}
    with _echo(settings, size_bytes) as echo:
        servers = {"search": settings, "echo": echo}
        processes = {name: _listening(each) for name, each in servers.items()}
        for _ in range(turns):
            for name, server in servers.items():
                before_s = _cpu_s(processes[name])
                found = asyncio.run(load(server, requests, clients, seconds=TURN_S))
                rates[name].append(found["per_s"])
                cpu_ms[name].append((_cpu_s(processes[name]) - before_s) * 1000 / found["searches"])
    ratios = [ours / theirs for ours, theirs in zip(rates["search"], rates["echo"], strict=True)]
    return {
        "answer_bytes": size_bytes,
        "search_per_s": round(statistics.median(rates["search"]), 1),
        "echo_per_s": round(statistics.median(rates["echo"]), 1),
        "search_to_echo": round(statistics.median(ratios), 3),
        "search_server_cpu_ms": round(statistics.median(cpu_ms["search"]), 3),
        "echo_server_cpu_ms": round(statistics.median(cpu_ms["echo"]), 3),
    }


@contextlib.contextmanager
def _echo(settings: Settings, size_bytes: int) -> Iterator[Settings]:
    """Settings that lead to a server like ours with the echoing route; it is stopped at the end.

    Raises:
        DependencyError: it does not start.
    """
    with TemporaryDirectory(prefix="lookalike-echo-") as folder:
        own = settings.model_copy(
            update={"api_host": "127.0.0.1", "api_port": free_ports(1)[0], "var_dir": Path(folder)}
        )
        command = [sys.executable, "-m", "bench.echo", str(size_bytes)]
        child = start_child(replace(api(own), name="echo", command=lambda: command))
        try:
            wait_for_child(
                "echo", child, lambda: is_taken(own.api_port), timeout_s=ECHO_START_S, lacking="It does not listen."
            )
            yield own
        finally:
            child.stop(5.0)


def _listening(settings: Settings) -> list[psutil.Process]:
    """The server processes, which hold the port; its decoders do not.

    Raises:
        DependencyError: they are another user's, or on another machine.
    """
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(
                each.laddr.port == settings.api_port and each.status == psutil.CONN_LISTEN
                for each in process.net_connections("tcp")
            ):
                found.append(process)
    if not found:
        raise DependencyError(
            "api", f"no process of ours listens on port {settings.api_port}. Start the stack here: `make up`."
        )
    return found


def _cpu_s(processes: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


async def _answer_size_bytes(settings: Settings, request: bytes) -> int:
    reader, writer = await asyncio.open_connection(settings.api_host, settings.api_port)
    writer.write(request)
    status, body = await _response(reader)
    writer.close()
    if status != 200:
        raise DependencyError("api", f"it answered {status}: {body[:300]!r}")
    return len(body)


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
