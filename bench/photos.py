"""What photographs cost: one from its file to its embedding on one core, and as a large query over HTTP, normally and thoroughly."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.http import load, search_request
from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline, own_programs, publish_all
from bench.photographs import gallery_photographs, photographs_of
from contract.settings import Settings
from model.encoder import Encoder, load_encoder
from model.pictures.images import decode
from runtime.progress import progress_line

ENCODER = "photo"
SMALL_SIZE_PX, LARGE_SIZE_PX = (500, 300), (4000, 3000)
CORE_IMAGES, QUERIES, WARM_UP = 300, 6, 3


def measure_photos(
    settings: Settings,
    images: int,
    searches: int,
    thorough: int,
    *,
    folder: Path | None = None,
    core_images: int = CORE_IMAGES,
    query_size_px: tuple[int, int] = LARGE_SIZE_PX,
) -> dict[str, Any]:
    """All figures by name; "rows" are searches by effort. Kafka and Cassandra must run; what is published stays in Cassandra.

    Args:
        images: in the gallery, of `folder` where one is given.
        searches, thorough: by one client with each effort.
        core_images: of 300 x 500 pixels, each timed from file to embedding.

    Raises:
        ConfigurationError: there is no encoder for photographs.
        DependencyError: Kafka or Cassandra does not run, or nothing went on for three minutes.
    """
    encoder = load_encoder(ENCODER)
    figures: dict[str, Any] = {"encoder": encoder.name, "machine": machine(), "versions": versions()}
    figures |= _on_one_core(encoder, photographs_of(SMALL_SIZE_PX, core_images))
    queries = photographs_of(query_size_px, QUERIES)
    figures |= {
        "query_mpx": round(query_size_px[0] * query_size_px[1] / 1e6, 2),
        "query_mb": round(sum(map(len, queries)) / len(queries) / 1e6, 2),
        "rows": [],
    }
    with_photo_encoder = settings.model_copy(update={"encoder": ENCODER, "next_encoder": ""})
    with own_pipeline(with_photo_encoder, "photos") as own, own_programs(own, with_api=True):
        with progress_line("publishing", images) as progress:
            photographs = _counted(gallery_photographs(images, folder), progress)
            figures["gallery_images"] = publish_all(own, photographs, "photo")
        for effort, count in (("normal", searches), ("thorough", thorough)):
            parameters = f"k=10&effort={effort}"
            requests = [search_request(own, query, "image/jpeg", parameters) for query in queries]
            asyncio.run(load(own, requests, 1, count=WARM_UP))
            found = asyncio.run(load(own, requests, 1, count=count))
            figures["rows"].append({"method": effort, **found})
    return figures


def _on_one_core(encoder: Encoder, values: list[bytes]) -> dict[str, Any]:
    """From file to embedding with digest and thumbnail, as the decoder's child does it, and the same network alone, in turn.

    Medians, so that what else the machine does for a moment counts for neither.
    """
    taken = np.empty((len(values), 4))
    with _one_core(), progress_line("one core", len(values)) as progress:
        for value in values[:WARM_UP]:
            encoder.embed(encoder.pixels(decode(value, encoder.thumbnail_side_px).image))
        for row, value in enumerate(values):
            began = time.perf_counter()
            picture = decode(value, encoder.thumbnail_side_px)
            decoded = time.perf_counter()
            pixels = encoder.pixels(picture.image)
            prepared = time.perf_counter()
            encoder.embed(pixels)
            embedded = time.perf_counter()
            encoder.embed(pixels)
            taken[row] = np.diff([began, decoded, prepared, embedded, time.perf_counter()])
            progress.update()
    whole_s, alone_s = float(np.median(taken[:, :3].sum(1))), float(np.median(taken[:, 3]))
    parts_ms = np.median(taken, axis=0) * 1000
    return {
        "images_per_s": round(1 / whole_s, 1),
        "litert_alone_images_per_s": round(1 / alone_s, 1),
        "whole_to_litert_alone": round(alone_s / whole_s, 3),
        "decode_digest_thumbnail_ms": round(float(parts_ms[0]), 2),
        "pixels_ms": round(float(parts_ms[1]), 2),
        "embed_ms": round(float(parts_ms[2]), 2),
        "litert_alone_ms": round(float(parts_ms[3]), 2),
    }


@contextmanager
def _one_core() -> Iterator[None]:
    """This process on one core alone, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _counted(images: Iterator[bytes], progress: Any) -> Iterator[bytes]:
    for image in images:
        yield image
        progress.update()
