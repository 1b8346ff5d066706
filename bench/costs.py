"""What one image costs: bytes in each table, in the topic and in the index, and processor time of each program; and what a search costs.

Bytes are those of files after Cassandra has written its memtables to disk. Processor time is that of processes, so that other work on the
machine hardly changes it.
"""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from bench.duplicates import drawn_like, embedded_photographs
from bench.embeddings import gallery
from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline, own_programs, own_stack, publish_all
from bench.photographs import photographs_of
from bench.processor_time import pids_of, processor_time
from bench.vector_index import TABLE, VectorTable
from contract.settings import Settings
from gallery.generations.manifest import Manifest, current_name
from gallery.generations.next_base import build_base
from gallery.generations.reader import Reader
from gallery.nearest.compiled import compile_search
from lookalike_client import Client
from model import mnist
from model.encoder import Encoder, load_encoder
from stack import groups

PHOTOS, PHOTO_ENCODER = "photos", "photo"
PHOTO_SIZE_PX = (500, 300)
DISTINCT_PHOTOS = 300
WARM_UP_IMAGES = 64
# The first searches look records up that later ones find kept.
SEARCHES = 150
# No base is built meanwhile: what one costs is measured by itself.
UNDISTURBED = {"next_encoder": "", "rebuild_interval_s": 1e6, "rebuild_tail_images": 10**9}
BASE = "measured"
MB = 1_000_000


def measure_costs(
    settings: Settings, digits: int, photos: int, vectors: int, folder: Path | None = None
) -> dict[str, Any]:
    """A row for each kind of images, on Kafka and Cassandra of its own.

    Args:
        digits: of MNIST, published at once.
        photos: of 300 x 500 pixels, published at once.
        vectors: rows of the table with a vector index, of each kind.
        folder: photographs to publish; None for parts of the two that scikit-learn brings.

    Raises:
        DependencyError: a server did not start, or nothing went on for three minutes.
    """
    kinds: dict[str, tuple[str, Callable[[], list[bytes]], int]] = {
        "digits": (settings.encoder, lambda: [mnist.png(image) for image in mnist.images("train")[:digits]], digits),
        PHOTOS: (PHOTO_ENCODER, lambda: photographs_of(PHOTO_SIZE_PX, min(photos, DISTINCT_PHOTOS), folder), photos),
    }
    figures: dict[str, Any] = {"machine": machine(), "versions": versions(), "searches": SEARCHES}
    with own_stack(settings, only=("servers",)) as servers:
        made = [
            _published(
                servers.model_copy(update={"encoder": encoder, **UNDISTURBED}), kind, images_of(), count, vectors
            )
            for kind, (encoder, images_of, count) in kinds.items()
        ]
        groups.down(servers, "servers")  # what memtables hold goes to disk
        sizes = [table_bytes(servers.var_dir / "cassandra" / "data" / each.keyspace) for each in made]
        groups.up(servers, "servers", tied=True)
        searched = [_searched(servers, each) for each in made]
    rows = [_row(*each, vectors) for each in zip(made, sizes, searched, strict=True)]
    return figures | {"rows": rows}


@dataclass(frozen=True)
class _Published:
    """What was found out while programs and servers ran."""

    keyspace: str
    count: int
    dimensions: int
    figures: dict[str, Any]
    vectors: dict[str, Any]
    queries: NDArray[np.float32]


def _published(servers: Settings, kind: str, images: list[bytes], count: int, vectors: int) -> _Published:
    values = [images[number % len(images)] for number in range(count)]
    with own_pipeline(servers, kind) as own, own_programs(own, with_api=True) as children:
        warm = publish_all(own, images[:WARM_UP_IMAGES], "warm")
        pids = pids_of(servers, "servers") | {name: child.pid for name, child in children.items()}
        with processor_time(pids) as image_s:
            publish_all(own, values, kind)
        client = Client(own.api_address)
        client.search(images[0])
        with processor_time(pids) as search_s:
            for number in range(SEARCHES):
                client.search(images[number % len(images)])
        snapshot = Reader(own.encoder_index_dir, fingerprint=None).current()
        assert snapshot is not None
        figures = {
            "method": kind,
            "encoder": own.encoder,
            "images": count + warm,
            "image_bytes": round(sum(map(len, values)) / len(values), 1),
            "dimensions": snapshot.dimensions,
            "kafka_bytes_per_image": round(_topic_bytes(servers, own.kafka_topic) / (count + warm), 1),
            **_index_figures(own.encoder_index_dir, snapshot.manifest, own.compiled_dir),
            "answer_bytes": len(_answer(own.api_address, images[0])),
            "resident_mb": {name: _resident_mb(pid) for name, pid in pids.items()},
            "processor_us_per_image": {name: round(s * 1e6 / count, 1) for name, s in image_s.items()},
            "processor_us_per_search": {name: round(s * 1e6 / SEARCHES, 1) for name, s in search_s.items()},
        }
    # The queries are drawn as the rows are, or they are other digits.
    encoder = load_encoder(own.encoder, own.encoders_dir)
    embeddings = _embeddings(servers, encoder, images, kind, vectors + SEARCHES)
    with VectorTable(servers, own.cassandra_keyspace, encoder.dimensions) as table:
        filled = table.fill(embeddings[:vectors])
    return _Published(own.cassandra_keyspace, count + warm, encoder.dimensions, figures, filled, embeddings[vectors:])


def _searched(servers: Settings, made: _Published) -> dict[str, Any]:
    with VectorTable(servers, made.keyspace, made.dimensions) as table:
        return table.search(made.queries)


def _row(made: _Published, sizes: dict[str, int], searched: dict[str, Any], vectors: int) -> dict[str, Any]:
    tables = {name: size for name, size in sorted(sizes.items()) if not name.startswith(TABLE)}
    return {
        **made.figures,
        "cassandra_bytes_per_image": {name: round(size / made.count, 1) for name, size in tables.items()},
        "vectors": made.vectors
        | searched
        | {
            "rows_bytes_per_vector": round(sizes[TABLE] / vectors, 1),
            "index_bytes_per_vector": round(sizes[f"{TABLE}: indexes"] / vectors, 1),
        },
    }


def _embeddings(servers: Settings, encoder: Encoder, images: list[bytes], kind: str, count: int) -> NDArray[np.float32]:
    """(n, d) float32: of digits themselves, or drawn with the mean and covariance of the photographs'."""
    if kind != PHOTOS:
        return gallery(encoder, count, servers.var_dir / "bench")
    return drawn_like(embedded_photographs(encoder, images), count)


def table_bytes(folder: Path) -> dict[str, int]:
    """Bytes of each table's files in a keyspace's folder, and of those of its indexes as `<table>: indexes`."""
    found: dict[str, int] = {}
    for file in folder.rglob("*-*.db"):
        table = file.relative_to(folder).parts[0].rpartition("-")[0]
        name = f"{table}: indexes" if "SAI" in file.name else table
        found[name] = found.get(name, 0) + file.stat().st_size
    return found


def _index_figures(index_dir: Path, manifest: Manifest, compiled_dir: Path) -> dict[str, float]:
    """Of the tail that holds all images, and of a base that is built of it here, as the indexer's child does."""
    compile_search(compiled_dir)
    name = current_name(index_dir)
    assert name is not None
    began_s = time.process_time()
    build_base(index_dir, generation_name=name, base_name=BASE)
    built_s = time.process_time() - began_s
    base_bytes = sum(file.stat().st_size for file in (index_dir / "bases" / BASE).rglob("*") if file.is_file())
    return {
        "tail_bytes_per_image": round(manifest.tail.size_bytes / manifest.count, 1),
        "base_bytes_per_image": round(base_bytes / manifest.count, 1),
        "base_build_us_per_image": round(built_s * 1e6 / manifest.count, 1),
    }


def _answer(address: str, image: bytes) -> bytes:
    request = urllib.request.Request(f"{address}/v1/search", data=image, headers={"Content-Type": "image/*"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bytes(answer.read())


def _resident_mb(pid: int) -> float:
    process = psutil.Process(pid)
    return round(sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / MB, 1)


def _topic_bytes(servers: Settings, topic: str) -> int:
    folders = (servers.var_dir / "kafka" / "data").glob(f"{topic}-[0-9]*")
    return sum(file.stat().st_size for folder in folders for file in folder.glob("*.log"))
