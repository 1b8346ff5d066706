"""How many photographs a second go from the topic to being searchable, beside decoding and LiteRT alone on all cores."""

import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from bench.machine import machine, versions
from bench.own_pipeline import own_pipeline, own_programs, publish_all
from bench.photo_alone import ENCODER, alone_per_s
from bench.photographs import photographs_of
from bench.processor_time import pids_of, processor_time
from contract.settings import Settings

SIZE_PX = (500, 300)
DISTINCT = 300
WARM_UP_IMAGES = 64


def measure_photo_road(settings: Settings, images: int, folder: Path | None = None) -> dict[str, Any]:
    """All figures by name. Kafka and Cassandra must run; what is published stays in Cassandra.

    "Alone" is what no embedder can do without: Pillow decodes the file, and the network embeds it, in one process a core, with neither digest
    nor thumbnail, nor anything that is stored. It is measured before and after.

    Args:
        images: of 300 x 500 pixels, published at once.
        folder: photographs that they are parts of; None for the two that scikit-learn brings.

    Raises:
        ConfigurationError: there is no encoder for photographs.
        DependencyError: Kafka or Cassandra does not run, or nothing went on for three minutes.
    """
    values = photographs_of(SIZE_PX, DISTINCT, folder)
    with_photo_encoder = settings.model_copy(update={"encoder": ENCODER, "next_encoder": ""})
    before_per_s = alone_per_s(values)
    with own_pipeline(with_photo_encoder, "photos") as own, own_programs(own, with_api=True) as children:
        publish_all(own, values[:WARM_UP_IMAGES], "warm")
        pids = pids_of(settings, "servers") | {name: child.pid for name, child in children.items()}
        with processor_time(pids) as taken_s:
            began = time.perf_counter()
            publish_all(own, islice(cycle(values), images), "road")
            searchable_per_s = images / (time.perf_counter() - began)
    both_per_s = (before_per_s + alone_per_s(values)) / 2
    return {
        "road_images": images,
        "road_image_kb": round(sum(map(len, values)) / len(values) / 1000, 1),
        "topic_to_searchable_per_s": round(searchable_per_s, 1),
        "decode_and_litert_alone_per_s": round(both_per_s, 1),
        "decode_and_litert_alone_before_per_s": round(before_per_s, 1),
        "topic_to_searchable_to_alone": round(searchable_per_s / both_per_s, 3),
        "machine": machine(),
        "versions": versions(),
        "processor_us_per_image": {name: round(s * 1e6 / images) for name, s in taken_s.items()},
    }
