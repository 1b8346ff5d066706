"""What one image costs on its way from topic to answer, measured on the running stack."""

import statistics
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.arrivals import CoverageWatcher, publish_paced
from bench.embedders import ROUNDS, Case, measure_embedders
from bench.http import require_api
from bench.machine import machine, versions
from bench.processor_time import pids_of, processor_time
from contract.record_key import RecordKey
from contract.settings import Settings
from gallery.generations.writer import Writer
from gallery.store.rows import FeedRow
from lookalike_client import Client
from model import mnist
from model.pictures.decoder import Decoder
from stack.groups import GROUPS
from topics.publisher import ImagePublisher

STAGE_IMAGES = 2048
STAGE_BATCH = 512
SEARCHES = 200
EMBEDDER_IMAGES = 6000


def measure_pipeline(
    settings: Settings,
    images: int,
    rate: float,
    seconds: float,
    *,
    embedder_images: int = EMBEDDER_IMAGES,
    rounds: int = ROUNDS,
    compared: Sequence[Case] | None = None,
) -> dict[str, Any]:
    """All figures by name, with their unit at the name's end; "rows" are embedders by themselves.

    Args:
        images: published at full speed.
        rate: images a second of the paced part, `seconds` long.
        embedder_images: for each of the embedders by themselves, in so many rounds; 0 leaves them out.
        compared: the embedders; None are all.

    Raises:
        DependencyError: the stack does not run, or did not cover what was published within five minutes.
    """
    run = uuid.uuid4().hex[:8]
    require_api(settings)
    pngs = [mnist.png(image) for image in mnist.images("train")[: max(images, STAGE_IMAGES, embedder_images)]]
    figures: dict[str, Any] = {"images_published": images, "machine": machine(), "versions": versions()}
    watcher = CoverageWatcher(settings.encoder_index_dir)
    try:
        figures |= _throughput(settings, watcher, pngs[:images], run)
        paced = publish_paced(settings, watcher, pngs, rate=rate, seconds=seconds, prefix=f"bench/{run}/paced")
        figures |= {f"freshness_{name}": value for name, value in paced.figures(rate).items()}
    finally:
        watcher.close()
    figures |= _searches(Client(settings.api_address))
    figures |= _stages(settings, pngs[:STAGE_IMAGES])
    if embedder_images:
        rows = measure_embedders(settings, pngs[:embedder_images], rounds, compared)
        rates = {row["method"]: row["images_per_s"] for row in rows}
        figures |= _ratios(rates) | {"rows": rows}
    return figures


def _throughput(settings: Settings, watcher: CoverageWatcher, pngs: list[bytes], run: str) -> dict[str, Any]:
    with processor_time(pids_of(settings, *GROUPS)) as taken_s:
        began = time.time()
        with ImagePublisher(settings) as publisher:
            futures = [publisher.put(png, image_id=f"bench/{run}/{n}") for n, png in enumerate(pngs)]
            confirmed = [future.result(120) for future in futures]
        published = time.time()
        searchable = float(watcher.wait_covered(confirmed).max())
    return {
        "published_per_s": round(len(pngs) / (published - began), 1),
        "topic_to_searchable_per_s": round(len(pngs) / (searchable - began), 1),
        "processor_us_per_image": {name: round(s * 1e6 / len(pngs), 1) for name, s in taken_s.items()},
    }


def _searches(client: Client) -> dict[str, Any]:
    total, parts = [], []
    for image in mnist.images("test")[:SEARCHES]:
        began = time.perf_counter()
        answer = client.search(mnist.png(image))
        total.append((time.perf_counter() - began) * 1000)
        parts.append(answer.timing_ms)
    return {
        "gallery_images": answer.coverage.count,
        "http_search_p50_ms": round(statistics.median(total), 2),
        "http_search_p99_ms": round(statistics.quantiles(total, n=100)[98], 2),
        "http_search_parts_p50_ms": {name: round(statistics.median(p[name] for p in parts), 3) for name in parts[0]},
    }


def _ratios(rates: dict[str, float]) -> dict[str, float]:
    """What the embedders' rates say, by name of the goal."""
    ratios = {"with_store_to_without": rates["one embedder"] / rates["one embedder, a store that does nothing"]}
    if "two embedders on two cores" in rates:
        ratios["two_on_two_cores_to_one_on_one"] = (
            rates["two embedders on two cores"] / rates["one embedder on one core"]
        )
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def _stages(settings: Settings, pngs: list[bytes]) -> dict[str, float]:
    """Microseconds an image of the stages that can be run by themselves, in batches of 512."""
    decoder = Decoder(settings.encoder, encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)
    try:
        decoder.decode(pngs[:1])
        began = time.perf_counter()
        batches = [decoder.decode(pngs[at : at + STAGE_BATCH]) for at in range(0, len(pngs), STAGE_BATCH)]
        wall = time.perf_counter() - began
    finally:
        decoder.close()
    verdicts = [verdict for batch in batches for verdict in batch.images]
    rows = [
        FeedRow(RecordKey("bench:log", 0, n), n, "put", "", f"bench/{n}", verdict.embedding, 0)
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
