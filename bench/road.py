"""What one image costs on its way from topic to answer, measured on the running stack."""

import os
import platform
import statistics
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from api.client import ApiError, Client
from contract.errors import DependencyError
from contract.progress import progress_line
from contract.settings import Settings
from gallery.reader import Reader
from gallery.rows import FeedRow
from gallery.writer import Writer
from model import mnist
from model.child import Decoder
from producers.publisher import Confirmation, ImagePublisher

STAGE_IMAGES = 2048
STAGE_BATCH = 512
SEARCHES = 200
COVERED_TIMEOUT_S = 300.0


def measure_road(settings: Settings, images: int, rate: float, seconds: float) -> dict[str, Any]:
    """All figures by name, with their unit at the name's end.

    Raises:
        DependencyError: the stack does not run, or did not cover what was published within five minutes.
    """
    run = uuid.uuid4().hex[:8]
    client = Client(f"http://{settings.api_host}:{settings.api_port}")
    try:
        client.index()
    except ApiError as error:
        raise DependencyError("api", f"{error.detail} Start the stack first: `make up`.") from error
    pngs = [mnist.png(image) for image in mnist.images("train")[: max(images, STAGE_IMAGES)]]
    figures: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "images_published": images,
    }
    watcher = CoverageWatcher(settings.index_dir)
    try:
        figures |= _throughput(settings, watcher, pngs[:images], run)
        figures |= _freshness(settings, watcher, pngs, rate, seconds, run)
    finally:
        watcher.close()
    figures |= _searches(client)
    return figures | _stages(settings, pngs[:STAGE_IMAGES])


class CoverageWatcher:
    """Notes when the index folder's current generation first covered each offset, looking every 2 ms."""

    def __init__(self, index_dir: Path) -> None:
        self._reader = Reader(index_dir, encoder=None)
        self._seen: list[tuple[float, dict[str, int]]] = []
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def wait_covered(self, confirmed: list[Confirmation]) -> list[float]:
        """Times (`time.time`) at which each confirmed record became searchable.

        Raises:
            DependencyError: not within five minutes.
        """
        deadline = time.monotonic() + COVERED_TIMEOUT_S
        ends: dict[str, int] = {}
        for record in confirmed:
            ends[str(record.partition)] = max(ends.get(str(record.partition), 0), record.offset + 1)
        with self._changed:
            while not self._seen or any(self._seen[-1][1].get(p, 0) < end for p, end in ends.items()):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise DependencyError("index", f"it does not cover {ends} after {COVERED_TIMEOUT_S:.0f} s.")
            seen = list(self._seen)
        return [
            next(when for when, offsets in seen if offsets.get(str(record.partition), 0) > record.offset)
            for record in confirmed
        ]

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        last = -1
        while not self._stop.wait(0.002):
            snapshot = self._reader.current()
            if snapshot is not None and snapshot.manifest.generation != last:
                last = snapshot.manifest.generation
                with self._changed:
                    self._seen.append((time.time(), snapshot.manifest.offsets))
                    self._changed.notify_all()


def _throughput(settings: Settings, watcher: CoverageWatcher, pngs: list[bytes], run: str) -> dict[str, float]:
    began = time.time()
    with ImagePublisher(settings) as publisher:
        futures = [publisher.put(png, image_id=f"bench/{run}/{n}") for n, png in enumerate(pngs)]
        confirmed = [future.result(120) for future in futures]
    published = time.time()
    searchable = max(watcher.wait_covered(confirmed))
    return {
        "published_per_s": round(len(pngs) / (published - began), 1),
        "topic_to_searchable_per_s": round(len(pngs) / (searchable - began), 1),
    }


def _freshness(
    settings: Settings, watcher: CoverageWatcher, pngs: list[bytes], rate: float, seconds: float, run: str
) -> dict[str, float]:
    """From Kafka's confirmation to being searchable, at a steady rate."""
    confirmed_at: dict[int, float] = {}

    def note(number: int, future: "Future[Confirmation]") -> None:
        future.add_done_callback(lambda _: confirmed_at.setdefault(number, time.time()))

    count = int(rate * seconds)
    futures = []
    with ImagePublisher(settings) as publisher, progress_line("paced", count) as bar:
        for number in _paced(count, rate):
            future = publisher.put(pngs[number % len(pngs)], image_id=f"bench/{run}/paced/{number}")
            note(number, future)
            futures.append(future)
            bar.update(1)
        confirmed = [future.result(60) for future in futures]
    covered = watcher.wait_covered(confirmed)
    freshness_ms = [(when - confirmed_at[number]) * 1000 for number, when in enumerate(covered)]
    return {
        "freshness_rate_per_s": rate,
        "freshness_p50_ms": round(statistics.median(freshness_ms), 1),
        "freshness_p99_ms": round(statistics.quantiles(freshness_ms, n=100)[98], 1),
        "freshness_max_ms": round(max(freshness_ms), 1),
    }


def _paced(count: int, rate: float) -> Iterator[int]:
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield number


def _searches(client: Client) -> dict[str, Any]:
    total, parts = [], []
    for image in mnist.images("test")[:SEARCHES]:
        began = time.perf_counter()
        answer = client.search(mnist.png(image))
        total.append((time.perf_counter() - began) * 1000)
        parts.append(answer.timing_ms)
    return {
        "gallery_images": answer.coverage["count"],
        "http_search_p50_ms": round(statistics.median(total), 2),
        "http_search_p99_ms": round(statistics.quantiles(total, n=100)[98], 2),
        "http_search_parts_p50_ms": {name: round(statistics.median(p[name] for p in parts), 3) for name in parts[0]},
    }


def _stages(settings: Settings, pngs: list[bytes]) -> dict[str, float]:
    """Microseconds an image of the stages that can be run by themselves, in batches of 512."""
    decoder = Decoder(settings.encoder)
    try:
        decoder.verdicts(pngs[:1])
        began = time.perf_counter()
        batches = [decoder.verdicts(pngs[at : at + STAGE_BATCH]) for at in range(0, len(pngs), STAGE_BATCH)]
        wall = time.perf_counter() - began
    finally:
        decoder.close()
    verdicts = [verdict for batch in batches for verdict in batch.verdicts]
    rows = [
        FeedRow("bench:log", 0, n, n, "put", "", f"bench/{n}", verdict.embedding, 0)
        for n, verdict in enumerate(verdicts)
    ]
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder), "bench")
        writer.set_logs(["bench:log"])
        began = time.perf_counter()
        for at in range(0, len(rows), STAGE_BATCH):
            writer.stage(writer.fold.add(0, 0, rows[at : at + STAGE_BATCH]))
            writer.publish()
        index = time.perf_counter() - began
        writer.close()
    per_image = 1e6 / len(pngs)
    return {
        "decode_us_per_image": round(sum(batch.decode_s for batch in batches) * per_image, 1),
        "encode_us_per_image": round(sum(batch.encode_s for batch in batches) * per_image, 1),
        "decode_encode_child_us_per_image": round(wall * per_image, 1),
        "fold_publish_us_per_image": round(index * per_image, 1),
    }
