"""From Kafka's confirmation to being searchable, at several rates, while others search."""

import asyncio
import multiprocessing
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from bench.arrivals import CoverageWatcher, publish_paced
from bench.floors import measure_floors
from bench.http import load, require_api, search_requests
from bench.machine import machine, versions
from contract.settings import Settings
from model import mnist

FLOOR_ROUNDS = 300


def measure_freshness(
    settings: Settings,
    rates: Sequence[float],
    *,
    clients: Sequence[int],
    seconds: float,
    pause_ms: float,
    floor_rounds: int = FLOOR_ROUNDS,
) -> dict[str, Any]:
    """A row for each number of clients and rate: images are published in an open loop, and a client asks its next search
    `pause_ms` after its last one was answered.

    An image counts as searchable when a generation covers its offset and is loaded as the API loads it. "kept_up" says that
    images became searchable as fast as they came; where it is false, the figures grow with the length of the run.

    Raises:
        DependencyError: the stack does not run, or did not cover what was published within five minutes.
    """
    index = require_api(settings)
    run = uuid.uuid4().hex[:8]
    pngs = [mnist.png(image) for image in mnist.images("train")[:5000]]
    figures: dict[str, Any] = {
        "gallery_images": index["coverage"]["count"],
        "seconds": seconds,
        "clients_pause_ms": pause_ms,
        "machine": machine(),
        "versions": versions(),
        "floors": measure_floors(settings, floor_rounds, pngs[0]),
        "rows": [],
    }
    watcher = CoverageWatcher(settings.encoder_index_dir)
    try:
        # The first images start the decoder's child and open what is opened once.
        publish_paced(settings, watcher, pngs, rate=50, seconds=1, prefix=f"bench/{run}/first")
        for count in clients:
            for rate in rates:
                prefix = f"bench/{run}/{count}/{rate:g}"
                with searching(settings, count, pause_s=pause_ms / 1000) as searches:
                    paced = publish_paced(settings, watcher, pngs, rate=rate, seconds=seconds, prefix=prefix)
                figures["rows"].append(
                    {
                        "method": f"{rate:g} images/s, {count} clients",
                        "clients": count,
                        **paced.figures(rate),
                        "kept_up": paced.searchable_per_s >= 0.9 * paced.sent_per_s,
                        "searches": searches,
                    }
                )
    finally:
        watcher.close()
    return figures


@contextmanager
def searching(settings: Settings, clients: int, *, pause_s: float) -> Iterator[dict[str, Any]]:
    """Searches over HTTP from a process of their own; what it found is in the dict once the block has ended."""
    figures: dict[str, Any] = {}
    if not clients:
        yield figures
        return
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_search_until_told, args=(settings, clients, pause_s, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        ours.recv()  # it is searching
        yield figures
        ours.send("stop")
        figures |= ours.recv()
    finally:
        ours.close()
        process.join(10)
        if process.is_alive():
            process.terminate()


def _search_until_told(settings: Settings, clients: int, pause_s: float, connection: Connection) -> None:
    requests = search_requests(settings)
    connection.send("ready")
    connection.send(asyncio.run(load(settings, requests, clients, pause_s=pause_s, is_over=connection.poll)))
