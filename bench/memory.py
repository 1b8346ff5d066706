"""The most memory that embedder, indexer and API take, each with its children, over topics, tables and an index of their own."""

import contextlib
import io
import threading
from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline, own_programs, publish_all
from contract.settings import Settings
from gallery.generations.reader import Reader
from lookalike_client import Client
from model import mnist
from stack.process import Child

# Noise does not compress: 3 bytes a pixel, 7.9 MiB in all.
LARGE_SIDE_PX = 1661
LARGE_PICTURES = 4
SEARCHES = 200
SAMPLE_INTERVAL_S = 0.05
MB = 1_000_000


def measure_memory(settings: Settings, digits: int, large: int) -> dict[str, Any]:
    """All figures by name, in MB of 10⁶ bytes. Kafka and Cassandra must run; what is published stays in Cassandra.

    Args:
        digits: of MNIST, published at once and then searched for.
        large: images of 7.9 MiB, published at once to embedder and indexer that were started anew; 0 for none.

    Raises:
        DependencyError: Kafka or Cassandra does not run, or nothing went on for three minutes.
    """
    figures: dict[str, Any] = {
        "machine": machine(),
        "versions": versions(),
        "digits": digits,
        "large_images": large,
    }
    with own_pipeline(settings, "memory") as own:
        pngs = [mnist.png(image) for image in mnist.images("train")[:digits]]
        with _running(own, with_api=True) as peaks:
            publish_all(own, pngs, "memory")
            client = Client(own.api_address)
            for image in mnist.images("test")[:SEARCHES]:
                client.search(mnist.png(image))
            figures["index_mb"] = _current_index_mb(own)
        figures |= {f"digits_{name}_mb": peak for name, peak in peaks.mb().items()}
    if large:
        with own_pipeline(settings, "memory") as own:
            with _running(own, with_api=False) as peaks:
                publish_all(own, islice(cycle(large_pictures()), large), "memory")
            figures |= {f"large_{name}_mb": peak for name, peak in peaks.mb().items()}
    return figures


def large_pictures() -> list[bytes]:
    """PNGs of noise, each of about 7.9 MiB."""
    pictures = []
    for seed in range(LARGE_PICTURES):
        pixels = np.random.default_rng(seed).integers(0, 256, (LARGE_SIDE_PX, LARGE_SIDE_PX, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
        pictures.append(buffer.getvalue())
    return pictures


class Peaks:
    """Looks at processes and their children every 50 ms and keeps the most resident memory that each name had."""

    def __init__(self, children: dict[str, Child]) -> None:
        self._processes = {name: psutil.Process(child.pid) for name, child in children.items()}
        self._alone = dict.fromkeys(children, 0)
        self._together = dict.fromkeys(children, 0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join()

    def mb(self) -> dict[str, float]:
        """By name alone, and with children by `<name>_with_children`, in MB. Pages that several map count for each."""
        found = {}
        for name, alone in self._alone.items():
            found[name] = round(alone / MB, 1)
            found[f"{name}_with_children"] = round(self._together[name] / MB, 1)
        return found

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_INTERVAL_S):
            for name, process in self._processes.items():
                with contextlib.suppress(psutil.Error):
                    alone = process.memory_info().rss
                    together = alone + sum(_resident_bytes(child) for child in process.children(recursive=True))
                    self._alone[name] = max(self._alone[name], alone)
                    self._together[name] = max(self._together[name], together)


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended just now
        return 0


@contextlib.contextmanager
def _running(settings: Settings, *, with_api: bool) -> Iterator[Peaks]:
    """The programs, looked at from when they are ready until they are stopped."""
    with own_programs(settings, with_api=with_api) as children:
        peaks = Peaks(children)
        try:
            yield peaks
        finally:
            peaks.close()


def _current_index_mb(settings: Settings) -> float:
    """What the current generation's files hold; older ones lie beside them until they are pruned."""
    snapshot = Reader(settings.encoder_index_dir, fingerprint=None).current()
    assert snapshot is not None
    manifest = snapshot.manifest
    base = 0
    if manifest.base is not None:
        base = sum(
            file.stat().st_size for file in (settings.encoder_index_dir / "bases" / manifest.base.name).iterdir()
        )
    return round((base + manifest.tail.size_bytes) / MB, 1)
