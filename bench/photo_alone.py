"""Photographs decoded by Pillow and embedded by the network alone, in one process a core; few imports, since each process repeats them."""

import io
import os
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context

from PIL import Image

from model.encoder import Encoder, load_encoder

ENCODER = "photo"
ALONE_IMAGES = 600


def alone_per_s(values: list[bytes]) -> float:
    """Images a second."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, get_context("spawn"), initializer=_load) as pool:
        list(pool.map(_embed, values[: 2 * cores]))  # each has loaded the network by then
        began = time.perf_counter()
        list(pool.map(_embed, islice(cycle(values), ALONE_IMAGES), chunksize=4))
        return ALONE_IMAGES / (time.perf_counter() - began)


_loaded: list[Encoder] = []


def _load() -> None:
    _loaded.append(load_encoder(ENCODER))


def _embed(value: bytes) -> None:
    encoder = _loaded[0]
    encoder.embed(encoder.pixels(Image.open(io.BytesIO(value)).convert("RGB")))
